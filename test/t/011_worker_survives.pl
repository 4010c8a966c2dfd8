# What the worker makes of errors that it did not expect: one of PostgreSQL's in its transaction is survived and the
# transaction repeated; a C++ exception ends the process, and the launcher starts another. Nothing is lost either way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $receiver = start_receiver();
my $node = new_node();
$node->safe_psql('postgres', 'CREATE TABLE contacts (id int, organization_id text)');
$node->safe_psql('postgres', q{SELECT webhook_watch('contacts', 'contact.created')});
create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok'), events => ['contact.created']);

my $contacts = 0;

# Inserts a contact and waits for its request.
sub is_delivered
{
	my ($what) = @_;
	$node->safe_psql('postgres', 'INSERT INTO contacts VALUES (' . ++$contacts . ", 'acme')");
	eventually { $receiver->count >= $contacts } $what;
	return;
}

sub worker_pid
{
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook worker'");
}

sub logged { return $node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT event_id) FROM webhook_logs'); }

sub is_logged_once
{
	my ($what) = @_;
	my $expected = "$contacts|$contacts";
	eventually { logged() eq $expected } $what;
	return;
}

is_delivered('an event is delivered');
is_logged_once('and logged');
my $pid = worker_pid();

# --- an error of PostgreSQL's ---

$node->safe_psql(
	'postgres', q{
	CREATE SEQUENCE refusals;    -- a rollback does not take back what it counts
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM nextval('public.refusals');
		RAISE EXCEPTION 'refused by the DBA';
	END$$});
my %triggers = (
	'in its statement' => 'CREATE TRIGGER refuse BEFORE INSERT ON webhook_logs FOR EACH ROW EXECUTE FUNCTION refuse()',
	'in its commit' => 'CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON webhook_logs DEFERRABLE INITIALLY DEFERRED '
	  . 'FOR EACH ROW EXECUTE FUNCTION refuse()');
foreach my $where (reverse sort keys %triggers)
{
	$node->safe_psql('postgres', 'ALTER SEQUENCE refusals RESTART');
	$node->safe_psql('postgres', $triggers{$where});
	is_delivered("an event is delivered while the worker's transaction fails $where");
	eventually { $node->safe_psql('postgres', 'SELECT last_value FROM refusals') >= 3 } 'which it repeats';
	$node->safe_psql('postgres', 'DROP TRIGGER refuse ON webhook_logs');
	is_logged_once("what the failed transaction was to record is recorded later ($where)");
	is_delivered('and what comes then is delivered');
	is_logged_once('and logged');
	is(worker_pid(), $pid, "by the same process ($where)");
}

like(slurp_file($node->logfile), qr/repeated: refused by the DBA\n.*CONTEXT:  PL\/pgSQL function (?:public\.)?refuse\(\) line 4 at RAISE/,
	'the log says whose error it is');

# --- pg_cancel_backend() ---

is($node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)"), 't', 'an idle worker is told to cancel its statement');
is_delivered('it has none, and goes on');
is(worker_pid(), $pid, 'as the same process');

# --- a C++ exception ---
#
# A worker that may have no more file descriptors gets none to wait for its sockets with: a std::system_error. It is the
# second epoll descriptor of the process, behind that of its latch; the limit that leaves no room for it is set on the
# postmaster, for a new worker to inherit.

my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
my ($limit) = slurp_file("/proc/$postmaster/limits") =~ /^Max open files\s+(\d+)/m;

sub limit_files
{
	my ($files) = @_;
	system_or_bail('prlimit', '--pid', $postmaster, "--nofile=$files:");
	return;
}

# The times of day, in seconds, at which starts failed.
sub failed_starts
{
	my $log = slurp_file($node->logfile);
	my @starts;
	push @starts, 3600 * $1 + 60 * $2 + $3
	  while $log =~ /^\S+ (\d\d):(\d\d):(\d\d\.\d+) .*ERROR:  could not create an epoll descriptor/mg;
	return @starts;
}

my @epolls = sort { $a <=> $b } map { m{/(\d+)$} } grep { (readlink($_) // '') =~ /eventpoll/ } glob("/proc/$pid/fd/*");
limit_files($epolls[1]);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
eventually { failed_starts() >= 3 } 'a C++ exception ends the process with an ordinary error, and another is started';
my @starts = failed_starts();
cmp_ok(($starts[1] - $starts[0]) % 86400, '>=', 1, 'not before a second has passed');
cmp_ok(($starts[2] - $starts[1]) % 86400, '>=', 2, 'and the next not before two have');
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'the server goes on');
$node->safe_psql('postgres', 'INSERT INTO contacts VALUES (' . ++$contacts . ", 'acme')");
limit_files($limit);
eventually { $receiver->count >= $contacts } 'the next that starts delivers what was captured meanwhile';
is_logged_once('and logs it');
is_deeply([ grep { $_ != 1 } values %{ $receiver->counts_by_webhook_id } ], [], 'nothing was sent twice');

is_log_clean(
	$node,
	expected => [
		qr/WARNING: .*webhook: the worker's transaction failed and will be repeated: refused by the DBA/,
		qr/ERROR:  could not create an epoll descriptor: Too many open files/
	]);
$node->stop;

done_testing();
