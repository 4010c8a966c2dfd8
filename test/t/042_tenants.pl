# What tenants may not do to each other and to the server: more webhooks than their organization may have, also by two
# sessions at once and in any isolation level; a history that grows without end; lines of their own in the server's log, or
# more than a few.

use strict;
use warnings;

use FindBin;
use IO::Socket::INET;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Session;

my $node = new_node('webhook.max_webhooks_per_organization' => 3, log_min_messages => 'debug1');    # which tells of circuits
$node->safe_psql('postgres', q{
	CREATE ROLE tenant LOGIN;
	CREATE ROLE operator LOGIN;
	SELECT webhook_grant('tenant'), webhook_grant('operator', 'operate');
});

sub session
{
	my ($role, $organization) = @_;
	my $session = WebhookTest::Session->new($node, 'postgres');
	$session->query("SET ROLE $role; SET webhook.organization_id = '$organization'");
	return $session;
}

sub insert
{
	my ($from, $to) = @_;
	return "INSERT INTO webhook_configurations (name, url, events) "
	  . "SELECT 'hook ' || i, 'https://example.com/', '{*}' FROM generate_series($from, $to) i";
}

sub count_of
{
	my ($organization) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(*) FROM webhook_configurations WHERE organization_id = '$organization'");
}

my $limited = qr/organization "acme" cannot have more than 3 webhooks/;

# --- one session ---

my $one = session('tenant', 'acme');
$one->query(insert(1, 4));
like($one->errors, $limited, 'more than the limit in one statement are refused');
is(count_of('acme'), 0, 'all of them');
$one->query(insert(1, 3));
is(count_of('acme'), 3, 'the limit itself is allowed');
$one->query(insert(4, 4));
is(count_of('acme'), 3, 'one more is refused');
$one->query(insert(1, 3) . ' ON CONFLICT (organization_id, name) DO UPDATE SET is_active = false');
is($node->safe_psql('postgres', 'SELECT count(*) FROM webhook_configurations WHERE NOT is_active'), 3,
	'who is at the limit may still change what is there');
$one->query("DELETE FROM webhook_configurations WHERE name = 'hook 3'");
$one->query(insert(4, 4));
is(count_of('acme'), 3, 'and replace it');

# --- another one, and operators ---

my $other = session('tenant', 'globex');
$other->query(insert(1, 3));
is(count_of('globex'), 3, 'another organization has its own');
my $operator = session('operator', 'acme');
$operator->query(insert(5, 6));
is(count_of('acme'), 5, 'operators are not limited');
$node->safe_psql('postgres', "DELETE FROM webhook_configurations WHERE organization_id = 'acme'");

# --- two sessions at once, each of which alone would be within the limit ---

my $two = session('tenant', 'acme');
foreach my $isolation ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	foreach my $session ($one, $two)
	{
		$session->query("BEGIN ISOLATION LEVEL $isolation; SELECT count(*) FROM webhook_configurations");
	}
	$one->query(insert(1, 2));
	$two->send(insert(3, 4));
	ok( $node->poll_query_until('postgres',
			"SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT%'"),
		"$isolation: the second waits for the first");
	$other->query("UPDATE webhook_configurations SET is_active = false; DELETE FROM webhook_configurations; " . insert(1, 1));
	is(count_of('globex'), 1, "$isolation: other organizations do not");
	$one->query('COMMIT');
	$two->query('COMMIT');
	is(count_of('acme'), 2, "$isolation: and does not pass the limit together with it");
	$node->safe_psql('postgres', 'DELETE FROM webhook_configurations');
}

# --- the way round: the organization changes while the statement runs ---

my ($code, $out, $err) = $node->psql('postgres',
	"SET ROLE tenant; SET webhook.organization_id = 'acme'; "
	  . "INSERT INTO webhook_configurations (name, url, events) "
	  . "SELECT 'round ' || i, 'https://example.com/' || set_config('webhook.organization_id', "
	  . "CASE WHEN i = 4 THEN 'globex' ELSE 'acme' END, false), '{*}' FROM generate_series(1, 4) i");
isnt($code, 0, 'an organization that changes on the way does not help');
is(count_of('acme') + count_of('globex'), 0, 'nothing is stored');

# --- nobody may hold up others ---

($code, $out, $err) = $node->psql('postgres', "SET ROLE tenant; SET webhook.organization_id = 'acme'; SELECT webhook_internal.check_limit('globex')");
like($err, qr/permission denied to create a webhook of another organization/, 'the lock of another organization cannot be taken');

# What pg_locks shows of it tells nothing of the organization, nor can anybody compute two that share it: it is made with a
# key, which another CREATE EXTENSION draws anew.
sub lock_of_acme
{
	my $pid = $one->query('SELECT pg_backend_pid()');
	$one->query("BEGIN; INSERT INTO webhook_configurations (name, url, events) VALUES ('hook', 'https://example.com/', '{*}')");
	my $tag = $node->safe_psql('postgres', qq{
		SELECT string_agg(format('%s %s %s %s', locktype, classid, objid, objsubid), ', ') FROM pg_locks
		WHERE locktype NOT IN ('relation', 'virtualxid', 'transactionid') AND pid = $pid});
	$one->query('ROLLBACK');
	return $tag;
}
my $tag = lock_of_acme();
like($tag, qr/^advisory \d+ \d+ \d+$/, 'who creates a webhook holds one lock of his organization');
is(lock_of_acme(), $tag, 'the same each time');
$node->safe_psql('postgres', q{DROP EXTENSION webhook; CREATE EXTENSION webhook; SELECT webhook_grant('tenant')});
isnt(lock_of_acme(), $tag, 'but another one where the extension has been created anew');

$_->finish foreach $one, $two, $other, $operator;

# --- the application's own transactions, at SERIALIZABLE ---

$node->safe_psql('postgres', q{
	CREATE TABLE items (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
	INSERT INTO webhook_configurations (organization_id, name, url, events)
	SELECT o, 'hook', 'https://127.0.0.1:1024/', '{item.created}' FROM unnest(ARRAY['acme', 'globex']) o});
# A tenant reads its events and changes its webhook, while the application writes another tenant's row.
foreach my $first ('application', 'tenant')
{
	my %session = (application => WebhookTest::Session->new($node, 'postgres'), tenant => session('tenant', 'acme'));
	$session{tenant}->query('BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM webhook_own_events');
	$session{application}->query("BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO items (organization_id) VALUES ('globex')");
	$session{tenant}->query('UPDATE webhook_configurations SET timeout_ms = timeout_ms + 1');
	my ($second) = grep { $_ ne $first } keys %session;
	$session{$_}->query('COMMIT') foreach $first, $second;
	is($session{$_}->errors, '', "where the $first commits first, the $_ succeeds") foreach sort keys %session;
	$_->finish foreach values %session;
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM webhook_events WHERE organization_id = 'globex'}), 2, 'each row is an event');
# A change that is committed counts all the same, and one that is not does not.
my $writer = WebhookTest::Session->new($node, 'postgres');
my $editor = session('tenant', 'globex');
$writer->query('BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1');
$editor->query("BEGIN; UPDATE webhook_configurations SET events = '{contact.created}'");
$writer->query("INSERT INTO items (organization_id) VALUES ('globex'); SELECT webhook_flush()");
$editor->query("COMMIT");
$writer->query("INSERT INTO items (organization_id) VALUES ('globex'); COMMIT");
is($node->safe_psql('postgres', q{SELECT count(*) FROM webhook_events WHERE organization_id = 'globex'}), 3,
	'such a transaction captures by the webhooks that are committed');
$_->finish foreach $writer, $editor;
$node->safe_psql('postgres', 'DELETE FROM webhook_configurations; DROP TABLE items');

# --- the server's log ---

my $failing = 300;
$node->adjust_conf('postgresql.conf', 'webhook.max_webhooks_per_organization', $failing + 1);
$node->reload;
my $log_start = -s $node->logfile;
# The port of nobody.
my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "no socket: $!";
my $port = $socket->sockport;
close($socket);
$node->safe_psql('postgres', qq{
	INSERT INTO webhook_configurations (organization_id, name, url, events)
	SELECT 'loud', E'\\x1b[2J\\x07\\r\\nERROR:  forged\\u202e ' || i, 'http://127.0.0.1:$port/', '{*}'
	  FROM generate_series(1, $failing) i;
	INSERT INTO webhook_configurations (organization_id, name, url, events)
	VALUES ('quiet', 'quiet', 'http://127.0.0.1:$port/', '{*}');
	SELECT webhook_emit('contact.created', '{}', organization_id => 'loud') FROM generate_series(1, 5)});
my $open = "SELECT count(*) FROM webhook_endpoints WHERE organization_id = '%s' AND circuit_opened_at IS NOT NULL";
ok( $node->poll_query_until('postgres', "SELECT ($open) = $failing" =~ s/%s/loud/r), 'every webhook of a tenant fails');
$node->safe_psql('postgres', "SELECT webhook_emit('contact.created', '{}', organization_id => 'quiet') FROM generate_series(1, 5)");
ok( $node->poll_query_until('postgres', "SELECT ($open) = 1" =~ s/%s/quiet/r), 'and that of another');

# --- the history of changes ---

# Two sessions of a tenant that edit in turn, each with a snapshot of its whole transaction.
foreach my $isolation ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	$node->safe_psql('postgres', q{
		TRUNCATE webhook_history;
		INSERT INTO webhook_history (configuration_id, organization_id, operation, version)
		SELECT gen_random_uuid(), o, 'UPDATE', 1 FROM unnest(ARRAY['quiet', 'loud']) o, generate_series(1, 5500)});
	my @sessions = map { session('tenant', 'quiet') } 1 .. 2;
	foreach my $session (@sessions) { $session->query("BEGIN ISOLATION LEVEL $isolation; SELECT count(*) FROM webhook_stats") }
	foreach my $session (@sessions)
	{
		$session->query("DO \$\$ BEGIN FOR i IN 1 .. 70 LOOP UPDATE webhook_configurations SET timeout_ms = 1000 + i; END LOOP; END \$\$");
		$session->query('COMMIT');
	}
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM webhook_history WHERE organization_id = 'quiet'"),
		'<=', 5140, "$isolation: a tenant's changes do not fill the history");
	is($node->safe_psql('postgres', "SELECT count(*) FROM webhook_history WHERE organization_id = 'loud'"), 5500,
		"$isolation: and take nothing of another's");
}

my $log = substr(slurp_file($node->logfile), $log_start);
my @lines = split /\n/, $log;
my @loud = grep { /the circuit of webhook "\\u001B\[2J\\u0007\\u000D\\u000AERROR:  forged\\u202E \d+"/ } @lines;
cmp_ok(scalar(@loud), '>=', 1, 'a name stands in the log, escaped');
# It may have been more than one minute.
cmp_ok(scalar(@loud), '<=', $failing / 2, "$failing circuits that open are not as many lines");
is(scalar(grep { /the circuit of webhook "quiet"/ } @lines), 1, 'another organization has its line');
unlike($log, qr/[\x00-\x08\x0b-\x1f\x7f]|\xe2\x80[\x8b-\x8f\xa8-\xae]/, 'no control character gets there');
$node->stop;

done_testing();
