# docs/quick-start.md and docs/testing.md, as a reader would follow them: on a server that only preloads the library, each
# statement and each command runs in the order of the page, and shows what the page says.
#
# A block of ```sql or of ```sh may be followed by one of ```text, with what it shows: … stands for any text, and blanks and
# rules do not count. A block that only reads is repeated until it shows that, since a worker takes a moment.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Encode qw(decode_utf8);
use File::Spec;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $root = File::Spec->rel2abs("$FindBin::RealBin/../..");
my $tmp_dir = PostgreSQL::Test::Utils::tempdir();

# What only installs, on the machine of a reader.
my $installs = qr/^(?:sudo |make\b)/;
my $changes = qr/\b(?:INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|webhook_(?:test|watch|unwatch|redeliver|replay|cancel)|pg_reload_conf)\b/;

# The blocks of a page: { kind, text, shows }, where shows is what the next block says, if that is one of text.
sub blocks_of
{
	my ($page) = @_;
	my @blocks;
	while ($page =~ /^```(\w*)\n(.*?)^```$/msg)
	{
		my ($kind, $text) = ($1, $2);
		if ($kind eq 'text') { $blocks[-1]{shows} = $text; }
		else { push @blocks, { kind => $kind, text => $text }; }
	}
	return @blocks;
}

# The output and status of a command that runs in the checkout.
sub shown_by
{
	my ($input, @command) = @_;
	my $output = '';
	my $ok = IPC::Run::run(\@command, '<', \$input, '>', \$output, '2>&1', init => sub { chdir $root or die "chdir: $!" });
	return (decode_utf8($output), $ok);
}

# Without what differs in width.
sub normal
{
	my ($text) = @_;
	$text =~ s/-{2,}/--/g;
	$text =~ s/\s+/ /g;
	return $text =~ s/^ | $//gr;
}

# A pattern for what a page says that is shown. A command may show more, before and behind it.
sub pattern_of
{
	my ($text) = @_;
	return join '.*', map { quotemeta } split /\s*\x{2026}\s*/, normal($text), -1;
}

sub follow
{
	my ($name) = @_;
	my $page = decode_utf8(slurp_file("$root/docs/$name.md"));
	my $node = new_node(
		name => $name =~ s/\W/_/gr,
		extension => 0,
		'webhook.allow_http' => 'off',
		'webhook.allowed_networks' => '');
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $record = "$tmp_dir/$name.jsonl";
	my ($receiver, $receiver_says) = (undef, '');
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');

	my $count = 0;
	foreach my $block (blocks_of($page))
	{
		my $what = "$name, block " . ++$count;
		my $text = $block->{text} =~ s/:8080\b/:$port/gr =~ s/--port 8080\b/--port $port/r =~ s{/tmp/requests\.jsonl}{$record}gr;
		if ($block->{kind} eq 'sh' && $text =~ $installs)
		{
			next;
		}
		elsif ($block->{kind} eq 'sh' && $text =~ /receiver\.mjs/)
		{
			$receiver = IPC::Run::start([ 'bash', '-c', "exec $text" ], '>', \$receiver_says, '2>&1',
				init => sub { chdir $root or die "chdir: $!" });
			wait_until { $receiver->pump_nb; $receiver_says =~ /\n/ } "$what: the receiver listens"
			  or BAIL_OUT("the receiver: $receiver_says");
			next;
		}
		my @command = $block->{kind} eq 'sql' ? qw(psql -X -q -P pager=off -v ON_ERROR_STOP=1)
		  : $block->{kind} eq 'sh' ? ('bash', '-c', $text)
		  : BAIL_OUT("$what: nobody runs blocks of \"$block->{kind}\"");
		my $loaded_at = $node->safe_psql('postgres', 'SELECT pg_conf_load_time()');
		my ($output, $ok) = shown_by($text, @command);
		if (defined $block->{shows})
		{
			my $pattern = pattern_of($block->{shows});
			my $is_shown = sub { $ok && normal($output) =~ /$pattern/ };
			if ($text !~ $changes)
			{
				wait_until { $is_shown->() || do { ($output, $ok) = shown_by($text, @command); $is_shown->() } } "$what: $text";
			}
			ok($is_shown->(), "$what shows what the page says") or diag("$text\nshowed\n$output\nnot\n$block->{shows}");
		}
		else
		{
			ok($ok, "$what runs") or diag("$text\nshowed\n$output");
		}
		if ($text =~ /pg_reload_conf/)
		{
			wait_until { $node->safe_psql('postgres', "SELECT pg_conf_load_time() > '$loaded_at'") eq 't' } 'the settings are loaded';
		}
		# A reader takes a moment, too.
		if ($text =~ /CREATE EXTENSION/)
		{
			wait_until { $node->safe_psql('postgres', 'SELECT count(*) FROM webhook_workers') > 0 } 'a worker runs';
		}
	}
	$receiver->kill_kill if $receiver;
	is_log_clean($node);
	$node->stop;
	return $count;
}

cmp_ok(follow('quick-start'), '>', 7, 'docs/quick-start.md has blocks');
cmp_ok(follow('testing'), '>', 20, 'docs/testing.md has blocks');

done_testing();
