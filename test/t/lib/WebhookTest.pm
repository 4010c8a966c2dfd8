# What the TAP tests share: a server with the extension, a receiver, webhooks, and bounded waiting.
#
#   my $node = new_node();                               # a running server, CREATE EXTENSION done
#   my $receiver = start_receiver();                     # or start_receiver(tls => 1)
#   my $id = create_webhook($node, url => $receiver->url('/ok'), events => ['contact.created']);
#   $node->safe_psql('postgres', …);
#   eventually { $receiver->count >= 3 } 'all three are sent';
#   is_log_clean($node);
#
# PostgreSQL's own modules come from its PGXS folder; dev/test sets the include path. What a test starts ends with it.
package WebhookTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(dirname);
use File::Spec;
use Time::HiRes qw(sleep time);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_node start_receiver create_webhook eventually wait_until is_log_clean log_problems sql_literal support_file
  certificates_dir default_timeout_s worker_memory_kb);

# How long a condition may take before a test gives it up; far longer than it takes on an idle machine.
sub default_timeout_s { return $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180; }

# A file of test/support.
sub support_file
{
	my ($name) = @_;
	return File::Spec->rel2abs(dirname(__FILE__) . "/../../support/$name");
}

my $node_count = 0;

# new_node(%options, %settings): a running server on which webhooks may be sent to 127.0.0.1.
#
# A key with a dot, or any other key that is no option, is a setting for postgresql.conf. The options:
#   name       of the node; needed only to tell several apart in the output
#   init       arguments of PostgreSQL::Test::Cluster's init, such as [ allows_streaming => 1 ]
#   preload    0: without shared_preload_libraries
#   extension  0: without CREATE EXTENSION in the database postgres
#   start      0: only initialised
#   install_path  of PostgreSQL, unless that of pg_config
sub new_node
{
	my %given = @_;
	my %options = (name => 'node' . ++$node_count, init => [], preload => 1, extension => 1, start => 1,
		install_path => undef);
	foreach my $option (keys %options)
	{
		$options{$option} = delete $given{$option} if exists $given{$option};
	}
	my %settings = (
		'shared_preload_libraries' => $options{preload} ? 'webhook' : '',
		'fsync' => 'on',    # init turns it off, and what these tests crash must be on disk
		'restart_after_crash' => 'on',    # so does init with this
		'webhook.allow_http' => 'on',
		'webhook.allowed_networks' => '127.0.0.0/8',
		%given);

	my @install_path = defined $options{install_path} ? (install_path => $options{install_path}) : ();
	my $node = PostgreSQL::Test::Cluster->new($options{name}, @install_path);
	my %init = @{ $options{init} };
	$node->init(%init, extra => [ '--encoding=UTF8', '--locale=C', @{ $init{extra} // [] } ]);
	$node->append_conf('postgresql.conf',
		join('', map { "$_ = " . sql_literal($settings{$_}) . "\n" } sort keys %settings));
	$node->start if $options{start};
	$node->safe_psql('postgres', 'CREATE EXTENSION webhook') if $options{start} && $options{extension};
	return $node;
}

# create_webhook($node, url => …, events => [ … ], %columns): inserts a webhook and returns its id. Any column may be
# given; name has a default. dbname: the database, postgres unless given.
my $webhook_count = 0;

sub create_webhook
{
	my ($node, %columns) = @_;
	my $dbname = delete $columns{dbname} // 'postgres';
	$columns{name} //= 'webhook ' . ++$webhook_count;
	my @names = sort keys %columns;
	my $values = join(', ', map { sql_literal($columns{$_}) } @names);
	return $node->safe_psql($dbname,
		"INSERT INTO webhook_configurations (@{[join(', ', @names)]}) VALUES ($values) RETURNING id");
}

# A literal for SQL and postgresql.conf; an array becomes the text of a PostgreSQL array, undef NULL.
sub sql_literal
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	if (ref $value eq 'ARRAY')
	{
		my @items = map { my $item = $_; $item =~ s/(["\\])/\\$1/g; qq("$item") } @$value;
		$value = '{' . join(',', @items) . '}';
	}
	$value =~ s/'/''/g;
	return "'$value'";
}

# eventually { condition } 'name': a test that passes as soon as the condition is true.
sub eventually(&$;$)
{
	my ($condition, $name, $timeout_s) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(&wait_until($condition, $name, $timeout_s), $name);
}

# wait_until { condition } 'what is waited for', $timeout_s: true as soon as the condition is. When the time is up, it
# says so and returns false.
sub wait_until(&$;$)
{
	my ($condition, $what, $timeout_s) = @_;
	$timeout_s //= default_timeout_s();
	my $deadline = time() + $timeout_s;
	my $pause_s = 0.005;
	until ($condition->())
	{
		if (time() > $deadline)
		{
			diag("waited $timeout_s s in vain for: $what");
			return 0;
		}
		sleep($pause_s);
		$pause_s = 0.1 if ($pause_s *= 1.5) > 0.1;
	}
	return 1;
}

# The lines of the server's log that no test may cause: errors, crashes, and warnings of this extension. expected: a
# list of patterns of lines that this test does expect. from: an offset in the log.
sub log_problems
{
	my ($node, %options) = @_;
	# DROP DATABASE and its like send autovacuum away. A fast shutdown may meet a session whose client has just left, and a client
	# that is killed may leave a session that has begun to answer it.
	my @expected = (@{ $options{expected} // [] }, qr/terminating autovacuum process/,
		qr/FATAL:  terminating connection due to administrator command/, qr/FATAL:  connection to client lost/);
	my @problems;
	my $is_stopping = 0;
	foreach my $line (split /\n/, substr(slurp_file($node->logfile), $options{from} // 0))
	{
		# The first level on a line is the line's own; a logged statement may name others.
		my ($level, $text) =
		  $line =~ /\b(DEBUG\d?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|CONTEXT|STATEMENT|QUERY):  (.*)/;
		next unless defined $level;
		$is_stopping = 1 if $text =~ /^received \w+ shutdown request/;
		$is_stopping = 0 if $text =~ /^database system is shut down/;
		# What a session says that still authenticates: PostgreSQL words any signal to end as a timeout then.
		next if $is_stopping && $text eq 'canceling authentication due to timeout';
		my $is_problem = $level =~ /^(?:ERROR|FATAL|PANIC)$/
		  || ($level eq 'WARNING' && $text =~ /webhook/)
		  || ($level eq 'LOG' && $text =~ /was terminated by signal|TRAP:/);
		push @problems, $line if $is_problem && !grep { $line =~ $_ } @expected;
	}
	return @problems;
}

sub is_log_clean
{
	my ($node, %options) = @_;
	my @problems = log_problems($node, %options);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(join("\n", splice(@problems, 0, 10)), '', 'the log of ' . $node->name . ' is clean');
}

# The only worker's own memory: without the shared buffers that it has touched.
sub worker_memory_kb
{
	my ($node) = @_;
	my $status = slurp_file('/proc/' . $node->safe_psql('postgres', 'SELECT pid FROM webhook_workers') . '/status');
	my ($all) = $status =~ /^VmRSS:\s+(\d+)/m;
	my ($shared) = $status =~ /^RssShmem:\s+(\d+)/m;
	return $all - $shared;
}

# The folder that make_certificates filled, made once a test.
my $certificates_dir;

sub certificates_dir
{
	if (!defined $certificates_dir)
	{
		$certificates_dir = PostgreSQL::Test::Utils::tempdir();
		system_or_bail(support_file('make_certificates'), $certificates_dir);
	}
	return $certificates_dir;
}

# start_receiver(%options): support/receiver.mjs, recording into a file of its own.
#   tls          1: HTTPS, with a certificate that certificates_dir()/ca.crt vouches for
#   certificate  another one of make_certificates: expired, wrong-host, untrusted, self-signed
#   tls_version  that one alone, such as TLSv1.1
#   program      another server of support/ that records as it does: hostile.mjs, proxy.mjs
sub start_receiver { return WebhookTest::Receiver->new(@_); }

package WebhookTest::Receiver;

use strict;
use warnings;

use File::Basename qw(basename);
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use Test::More;
use Time::HiRes ();

my $receiver_count = 0;

sub new
{
	my ($class, %options) = @_;
	my $name = basename($0, '.pl') . '_receiver' . ++$receiver_count;
	my $self = bless {
		options => \%options,
		record => "$PostgreSQL::Test::Utils::tmp_check/$name.jsonl",
		port => 0,
		lines => [],    # of the record, as they came
		offset => 0,    # read so far
	}, $class;
	unlink $self->{record};
	$self->start;
	return $self;
}

# Starts it, again on the port that it had.
sub start
{
	my ($self) = @_;
	my $program = $self->{options}{program} // 'receiver.mjs';
	my @command = (
		'node', WebhookTest::support_file($program),
		'--record', $self->{record}, '--port', $self->{port}, '--until-stdin-closes');
	if ($self->{options}{tls})
	{
		push @command, '--tls', WebhookTest::certificates_dir();
		push @command, '--certificate', $self->{options}{certificate} if $self->{options}{certificate};
		push @command, '--tls-version', $self->{options}{tls_version} if $self->{options}{tls_version};
	}
	my ($in, $out, $err) = ('', '', '');
	my $timer = IPC::Run::timer(WebhookTest::default_timeout_s());
	$self->{harness} = IPC::Run::start(\@command, '<', \$in, '>', \$out, '2>', \$err, $timer);
	$self->{harness}->pump until $out =~ /\n/ || !$self->{harness}->pumpable || $timer->is_expired;
	BAIL_OUT("$program did not start: $err") unless $out =~ /\n/;
	my $listening = JSON::PP::decode_json($out);
	$self->{$_} = $listening->{$_} foreach qw(port control_port);
	$self->{base_url} = $listening->{url};
	return;
}

# The URL of a path; receiver.mjs says what paths do.
sub url { my ($self, $path) = @_; return $self->{base_url} . ($path // '/ok'); }

sub record_file { my ($self) = @_; return $self->{record}; }

# Stops it as kill -9 would; start() brings it back.
sub kill
{
	my ($self) = @_;
	$self->{harness}->kill_kill(grace => 0) if $self->{harness};
	delete $self->{harness};
	return;
}

# Stands still, with its connections open, until resume().
sub pause { my ($self) = @_; $self->{harness}->signal('STOP'); return; }
sub resume { my ($self) = @_; $self->{harness}->signal('CONT'); return; }

# Makes a path answer as another does; undef undoes it.
sub set
{
	my ($self, $path, $script) = @_;
	my $response = HTTP::Tiny->new(timeout => 30)->post("http://127.0.0.1:$self->{control_port}/set",
		{ content => JSON::PP::encode_json({ path => $path, script => $script }) });
	BAIL_OUT("receiver.mjs: $response->{content}") unless $response->{success};
	return;
}

# Reads what has been recorded since the last call.
sub _read_new_lines
{
	my ($self) = @_;
	open(my $file, '<:raw', $self->{record}) or return;
	seek($file, $self->{offset}, 0);
	local $/ = "\n";
	while (my $line = <$file>)
	{
		last unless $line =~ /\n\z/;    # the rest of it is still to come
		$self->{offset} += length $line;
		push @{ $self->{lines} }, $line;
	}
	close($file);
	return;
}

# The lines of the record that were for this path (with its query), or for any.
sub _lines
{
	my ($self, $path) = @_;
	$self->_read_new_lines;
	return @{ $self->{lines} } unless defined $path;
	return grep { /^\{"received_us":\d+,"webhook_id":(?:null|"[^"]*"),"path":"\Q$path\E"/ } @{ $self->{lines} };
}

# How many requests came: to this path, or at all.
sub count { my ($self, $path) = @_; return scalar(my @lines = $self->_lines($path)); }

# { webhook-id => how many requests bore it }
sub counts_by_webhook_id
{
	my ($self, $path) = @_;
	my %counts;
	/"webhook_id":"([^"]*)"/ && $counts{$1}++ foreach $self->_lines($path);
	return \%counts;
}

# The requests in the order in which they came, as hashes: received_us, webhook_id, path, method, connection, tls,
# headers (a hash by lower-case name), body (bytes).
sub received
{
	my ($self, $path) = @_;
	return map { _decode($_) } $self->_lines($path);
}

# What the bodies say: the decoded JSON of each request.
sub bodies
{
	my ($self, $path) = @_;
	return map { JSON::PP::decode_json($_->{body}) } $self->received($path);
}

sub _decode
{
	my ($line) = @_;
	my $request = JSON::PP::decode_json($line);
	my @pairs = @{ delete $request->{headers} };
	while (my ($name, $value) = splice(@pairs, 0, 2))
	{
		$request->{headers}{ lc $name } = $value;
	}
	$request->{body} = decode_base64(delete $request->{body_base64});
	return $request;
}

# The receiver ends when its stdin closes, with the test; a test that lets go of it early ends it so.
sub DESTROY { my ($self) = @_; local ($?, $@); $self->kill; return; }

1;
