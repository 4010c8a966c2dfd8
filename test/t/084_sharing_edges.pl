# Nodes that share webhooks: what is refused, with what to do; a webhook that is switched off, cancelled, deleted or tested while
# another node delivers it; what webhook_check(), webhook_health() and the settings page's API say at the home.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Nodes;

my $receiver = start_receiver();
my %settings = (wal_level => 'logical', wal_retrieve_retry_interval => '1s', max_wal_senders => 4);
my $home = new_node(name => 'home', %settings);
my $east = new_node(name => 'east', %settings);

sub conninfo { my ($server, $more) = @_; return sql_literal($server->connstr('postgres') . ' ' . ($more // '')); }

wait_until { query($_, 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker' foreach $home, $east;

# --- What is refused ----------------------------------------------------------------------------------------------------

like(refusal($east, "SELECT webhook_join_home('east', @{[conninfo($home)]})"), qr/^ERROR:  the extension dblink is missing.*\nHINT:  CREATE EXTENSION dblink;/, 'without dblink');
query($_, 'CREATE EXTENSION dblink') foreach $home, $east;
foreach my $name ('home', 'East', 'a b', '', 'x' x 41)
{
	like(refusal($east, "SELECT webhook_join_home('$name', @{[conninfo($home)]})"), qr/^ERROR:  invalid name of a node "\Q$name\E"/, "a name: $name");
}
like(refusal($east, q{SELECT webhook_join_home('east', 'over there')}), qr/^ERROR:  conninfo is not a connection string\nHINT:  For example/, 'what is no connection string');
like(refusal($east, "SELECT webhook_join_home('east', @{[conninfo($home, q{user=nobody password=hunter2})]})"), qr/^ERROR:  the source cannot be reached\nDETAIL:  connection to server .*nobody/, 'a role that the home does not have');
like(refusal($east, "SELECT webhook_join_home('east', @{[conninfo($east)]})"), qr/^ERROR:  the connection string leads to this database itself\nHINT:  /, 'the node itself');
like(refusal($east, "SELECT webhook_join_home('east', @{[conninfo($home)]})"), qr/^ERROR:  the database over there is not a home yet\nHINT:  Over there: SELECT webhook_home\(\);/, 'a home that is none');
query($home, 'CREATE DATABASE plain');
like(refusal($east, "SELECT webhook_join_home('east', @{[sql_literal($home->connstr('plain'))]})"), qr/^ERROR:  database "plain" over there does not have the extension webhook\nHINT:  Over there: CREATE EXTENSION webhook;/,
	'a database without the extension');
query($home, 'DROP DATABASE plain');
my $small = new_node(name => 'small', wal_level => 'replica');
query($small, 'CREATE EXTENSION dblink');
like(refusal($small, 'SELECT webhook_home()'), qr/^ERROR:  wal_level is replica\nHINT:  ALTER SYSTEM SET wal_level = logical;/, 'a home without logical decoding');
like(refusal($small, "SELECT webhook_join_home('small', @{[conninfo($home)]})"), qr/^ERROR:  wal_level is replica\n/, 'or a node');
like(refusal($east, "SELECT webhook_join_home('east', @{[conninfo($small)]})"), qr/^ERROR:  wal_level is replica over there\nHINT:  Over there: ALTER SYSTEM/, 'seen from the node');
$small->stop;

query($home, 'CREATE PUBLICATION webhook_home; CREATE PUBLICATION webhook_home_events FOR TABLE webhook_events_0');
run_written($home, 'webhook_home()');
is(query($home, q{SELECT count(*) FROM pg_publication_rel}), 19, 'publications that lack tables are made anew');
is(query($home, 'SELECT count(*) FROM webhook_home() s WHERE s LIKE \'CREATE%\''), 0, 'what exists is left out');
create_webhook($east, url => $receiver->url('/ok'), events => ['contact.created']);
like(refusal($east, "SELECT webhook_join_home('east', @{[conninfo($home)]})"), qr/^ERROR:  this database cannot become a node: it has webhooks\nHINT:  /, 'a database with webhooks');
query($east, 'DELETE FROM webhook_configurations; CREATE TABLE t (id int)');
query($east, q{SELECT webhook_watch('t', 't.created', organization_column => NULL)});
like(refusal($east, "SELECT webhook_join_home('east', @{[conninfo($home)]})"), qr/^ERROR:  this database cannot become a node: events are declared on its tables\n/, 'or with events');
query($east, q{SELECT webhook_unwatch('t', 't.created')});
like(refusal($home, "SELECT webhook_attach_node('east', @{[conninfo($east)]})"), qr/^ERROR:  the database over there is not a node yet\nHINT:  Over there: SELECT webhook_join_home\('east', /, 'a node that has not joined');
query($east, q{CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$east->safe_psql('latin1', 'CREATE EXTENSION webhook; CREATE EXTENSION dblink');
wait_until { $east->safe_psql('latin1', 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker there';
my (undef, undef, $other_encoding) = $east->psql('latin1', "SELECT webhook_join_home('latin1', @{[conninfo($home)]})");
like($other_encoding, qr/ERROR:  the encoding is LATIN1 here and UTF8 over there\nHINT:  /, 'a node with another encoding');
query($east, 'DROP DATABASE latin1 WITH (FORCE)');
query($home, q{SELECT pg_create_logical_replication_slot('webhook_node_east', 'pgoutput')});
like(refusal($east, "SELECT webhook_join_home('east', @{[conninfo($home)]})"), qr/^ERROR:  the home has a replication slot "webhook_node_east" already\n.*pg_drop_replication_slot\('webhook_node_east'\);/s, 'a name that is taken');
query($home, q{SELECT pg_drop_replication_slot('webhook_node_east')});
is(query($east, 'SELECT count(*) FROM pg_subscription') . query($home, 'SELECT count(*) FROM pg_subscription'), '00', 'nothing of all that is half-made');

query($home, 'CREATE TABLE things (id bigserial PRIMARY KEY, note text)');
query($home, q{SELECT webhook_watch('things', 'thing.created', organization_column => NULL)});
run_written($east, "webhook_join_home('east', @{[conninfo($home)]})");
like(refusal($east, "SELECT webhook_join_home('other', @{[conninfo($home)]})"), qr/^ERROR:  this database is node "east" already\nHINT:  /, 'a node joins once');
like(refusal($home, q{SELECT webhook_share('{home,east}')}), qr/^ERROR:  node "east" is not attached\nHINT:  SELECT webhook_attach_node\('east', /, 'a share for a node that is not attached');
query($home, q{SELECT webhook_pause('before it joined')});
run_written($home, "webhook_attach_node('east', @{[conninfo($east)]})");
eventually { query($east, 'SELECT is_paused, paused_reason FROM webhook_instance') eq 't|before it joined' } 'a node that joins a paused home is paused';
query($home, 'SELECT webhook_resume()');
eventually { query($east, 'SELECT is_paused FROM webhook_instance') eq 'f' } 'until that resumes';
like(refusal($home, "SELECT webhook_attach_node('east', @{[conninfo($east)]})"), qr/^ERROR:  node "east" is attached already\n/, 'a node is attached once');
foreach my $nodes ('{}', '{home,NULL}')
{
	like(refusal($home, "SELECT webhook_share('$nodes')"), qr/^ERROR:  webhook_share\(\) takes the names of the nodes that deliver\nHINT:  /, "no names: $nodes");
}
like(refusal($home, q{SELECT webhook_share('{home,home}')}), qr/^ERROR:  a node is named twice\n/, 'a node with two shares');
my $holder = start_session($home, q{BEGIN; INSERT INTO webhook_configurations (name, url, events) VALUES ('open', 'http://127.0.0.1/', '{contact.created}'); SELECT pg_sleep(60)});
wait_until { query($home, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()}) > 0 } 'an open transaction';
like(refusal($home, q{SELECT webhook_share('{home}')}), qr/^ERROR:  webhooks are being edited\nDETAIL:  .*\nHINT:  Try again/, 'while a webhook is being edited');
$holder->kill_kill;
query($home, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()});
query($east, 'CREATE TABLE u (id int)');
like(refusal($east, q{SELECT webhook_watch('u', 'u.created', organization_column => NULL)}), qr/^ERROR:  this database is node "east", not the home\n/, 'events of a node');
like(refusal($east, q{SELECT webhook_emit('t.created', '{}', NULL)}), qr/^ERROR:  this database is node "east", not the home\n/, 'in any way');
like(refusal($east, 'SELECT webhook_home()'), qr/^ERROR:  this database is node "east", not the home\n/, 'a node of a node');

# --- What happens at the node is seen at the home -----------------------------------------------------------------------

query($home, q{SELECT webhook_share('{home}')});
my $not_yet = refusal($home, q{SELECT webhook_share('{east}')});
like($not_yet, qr/^(?:ERROR:  node "east" has not reported yet that it has the webhooks\nHINT:  Try again.*)?$/s, 'no share before the webhooks are there');
eventually { refusal($home, q{SELECT webhook_share('{east}')}) eq '' } 'when they are, it has one' if $not_yet;
my $gone = create_webhook($home, name => 'gone', url => $receiver->url('/status/410'), events => ['thing.created']);
my $told = create_webhook($home, name => 'told', url => $receiver->url('/body/told'), events => ['webhook.*']);
query($home, 'INSERT INTO things DEFAULT VALUES');
eventually { query($home, "SELECT is_active FROM webhook_configurations WHERE id = '$gone'") eq 'f' } 'a webhook that is gone is switched off at the home' or diag($receiver->count('/status/410') . ' ' . query($east, 'SELECT node, kind, reported_at, url, reason, left(data::text, 80) FROM webhook_node_reports; SELECT event_id, status, attempt, error FROM webhook_logs; SELECT id, known_switch, event FROM webhook_events; TABLE webhook_node_shares; SELECT id, is_active, switches FROM webhook_configurations'));
like(query($home, "SELECT disabled_reason FROM webhook_configurations WHERE id = '$gone'"), qr/410/, 'with the reason');
eventually { query($east, "SELECT is_active FROM webhook_configurations WHERE id = '$gone'") eq 'f' } 'and so at the node';
eventually { query($home, q{SELECT count(*) FROM webhook_logs WHERE event = 'webhook.disabled' AND status = 'success'}) == 1 } 'its owner is told, once';
is(query($home, "SELECT operation || ' ' || (role IS NULL AND session_role IS NULL) FROM webhook_history WHERE configuration_id = '$gone' ORDER BY id"),
	"INSERT false\nUPDATE true", 'and the history has it, as done by no role');

my $slow = create_webhook($home, name => 'slow', url => $receiver->url('/body/slow'), events => ['thing.created']);
$receiver->set('/body/slow', '/status/503');
query($home, 'INSERT INTO things SELECT FROM generate_series(1, 10)');
eventually { query($home, "SELECT pending FROM webhook_stats WHERE configuration_id = '$slow'") == 10 } 'what is pending at the node counts at the home';
my $event = query($home, "SELECT event_id FROM webhook_deliveries WHERE configuration_id = '$slow' ORDER BY event_id LIMIT 1");
is(query($home, "SELECT outcome FROM webhook_explain($event) WHERE name = 'slow'"), 'pending', 'webhook_explain() knows of it');
is(query($home, "SELECT json_array_length(webhook_api.pending('$slow') -> 'deliveries')"), 10, 'the page, too');
like(query($home, "SELECT string_agg(finding, ';') FROM webhook_check('$slow')"), qr/node "east" delivers it;/, 'webhook_check() names the node');
is(query($home, "SELECT webhook_cancel('$slow', $event)"), 1, 'one is cancelled from the home');
eventually { query($east, "SELECT state FROM webhook_deliveries WHERE configuration_id = '$slow' AND event_id = $event") eq 'dead' } 'at the node';
eventually { query($home, "SELECT dead FROM webhook_stats WHERE configuration_id = '$slow'") == 1 } 'which the home hears of';
is(query($home, "SELECT webhook_replay('$slow', '-infinity', only_failed => true)"), 1, 'a replay is sent by the home');
query($home, "UPDATE webhook_configurations SET url = '" . $receiver->url('/body/mended') . "' WHERE id = '$slow'");
eventually { $receiver->count('/body/mended') == 10 } 'an edit at the home reaches the node';
eventually { query($home, "SELECT pending + dead FROM webhook_stats WHERE configuration_id = '$slow'") == 0 } 'nothing is left';
eventually { query($home, "SELECT attempts > 0 FROM webhook_stats WHERE configuration_id = '$slow'") eq 't' } 'the figures are at the home';

# --- Who has locks -------------------------------------------------------------------------------------------------------

foreach my $server ($home, $east)
{
	query($server, q{CREATE ROLE tenant LOGIN; SELECT webhook_grant('tenant', 'manage')});
	query($server, q{CREATE ROLE operator LOGIN; SELECT webhook_grant('operator', 'operate')});
}
foreach my $lock ('UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE')
{
	is(query($east, "SET ROLE operator; SELECT count(*) FROM (SELECT FROM webhook_configurations FOR $lock) c"), 0, "on a node no webhook is locked: FOR $lock");
}
is(query($home, 'SET ROLE operator; SELECT count(*) > 0 FROM (SELECT FROM webhook_configurations FOR UPDATE) c'), 't', 'at the home it can be');
foreach my $call ("webhook_replay('$gone', '-infinity')", "webhook_cancel('$gone')", 'webhook_pause()', 'webhook_resume()')
{
	like(refusal($east, "SET ROLE operator; SELECT $call"), qr/ERROR:  this database is node "east", not the home\nHINT:  Do this at the home\./, "nor does a function lock one: $call");
}

like(refusal($east, "SELECT webhook_api.replay('$gone', '-infinity')"), qr/ERROR:  this database is node "east", not the home\n/, 'nor does the page send anything again');

my $down = create_webhook($home, name => 'down', url => $receiver->url('/body/down'), events => ['thing.created']);
$receiver->set('/body/down', '/status/500');

# Rows that are dead at the node, because they were cancelled.
sub make_dead
{
	my ($rows) = @_;
	query($home, "INSERT INTO things SELECT FROM generate_series(1, $rows)");
	wait_until { query($home, "SELECT count(*) FROM webhook_internal.node_deliveries WHERE configuration_id = '$down' AND state = 'pending'") >= $rows }
		'they are pending at the node';
	query($home, "SELECT webhook_cancel('$down')");
	return;
}

make_dead(3);
eventually { query($home, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$down' AND state = 'dead'") == 3 } 'three are dead at the node';
is(query($home, "SELECT webhook_api.replay('$down', '-infinity', only_failed => true) ->> 'job' IS NOT NULL"), 't', 'the page sends them again');
eventually { query($home, "SELECT count(*) FROM ONLY webhook_deliveries WHERE configuration_id = '$down'") == 3 } 'from the home';
eventually { query($east, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$down' AND last_error IS DISTINCT FROM webhook_internal.forgotten()") == 0 } 'and the node forgets them';
eventually { query($home, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$down'") == 3 } 'as the home does';
make_dead(3);
eventually { query($home, "SELECT count(*) FROM webhook_internal.node_deliveries WHERE configuration_id = '$down' AND state = 'dead'") == 3 } 'three more are dead at the node';
my $resender = $home->background_psql('postgres');
$resender->query_safe("BEGIN; UPDATE webhook_configurations SET name = name; SELECT webhook_replay('$down', '-infinity', only_failed => true)");
query($home, 'INSERT INTO things SELECT FROM generate_series(1, 2)');
eventually { query($home, "SELECT count(*) FROM webhook_internal.node_deliveries WHERE configuration_id = '$down'") == 5 }
	'an open transaction that sends them again holds up no report';
$resender->query_safe('COMMIT');
$resender->quit;
eventually { query($east, "SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$down' AND last_error IS DISTINCT FROM webhook_internal.forgotten()") == 2 } 'then the node forgets those, and no other';
query($home, "DELETE FROM webhook_configurations WHERE id = '$down'");

query($home, q{SELECT webhook_pause('for a test')});
eventually { query($east, 'SELECT is_paused, paused_reason FROM webhook_instance') eq 't|for a test' } 'a pause at the home pauses the node';
query($home, 'SELECT webhook_resume()');
eventually { query($east, 'SELECT is_paused FROM webhook_instance') eq 'f' } 'and so it resumes';

my $so_far = query($home, 'SELECT count(*) FROM things') - 1;    # one was for another webhook
eventually { $receiver->count('/body/mended') == $so_far } 'a webhook gets what others do not';
$east->stop;
query($home, q{UPDATE webhook_configurations SET name = 'renamed' WHERE name = 'slow'});
query($home, 'INSERT INTO things DEFAULT VALUES');
eventually { query($home, q{SELECT status FROM webhook_health() WHERE component = 'subscriptions'}) eq 'degraded' } 'a node that is down degrades';
like(query($home, q{SELECT reason FROM webhook_health() WHERE component = 'subscriptions'}), qr/nodes that share the webhooks are not connected, or do not report: east/, 'and is named');
like(query($home, "SELECT string_agg(severity || ' ' || finding, ';') FROM webhook_check('$slow')"), qr/error node "east", to which the webhook falls, is not connected/, 'by webhook_check(), too');
like(refusal($home, q{SELECT webhook_detach_node('east')}), qr/^ERROR:  node "east" has a share of the webhooks\nHINT:  /, 'it cannot be detached');
$east->start;
eventually { $receiver->count('/body/mended') == $so_far + 1 } 'what came while it was down arrives';
is(query($east, "SELECT name FROM webhook_configurations WHERE id = '$slow'"), 'renamed', 'and the edit');
eventually { query($home, q{SELECT status FROM webhook_health() WHERE component = 'overall'}) eq 'ok' } 'all is well';

query($home, "DELETE FROM webhook_configurations WHERE id = '$slow'");
eventually { query($east, q{SELECT count(*) FROM webhook_configurations}) == 2 } 'a deletion reaches the node';

# --- A node leaves ------------------------------------------------------------------------------------------------------

query($home, q{SELECT webhook_share('{home}')});
eventually { refusal($home, q{SELECT webhook_detach_node('east')}) =~ /still subscribed/ } 'a node that has finished may go';
like(refusal($home, q{SELECT webhook_detach_node('east')}), qr/\nHINT:  On the node: DROP SUBSCRIPTION webhook_home;/, 'once it is no longer subscribed');
query($east, 'DROP SUBSCRIPTION webhook_home');
run_written($home, q{webhook_detach_node('east')});
is(query($home, 'SELECT string_agg(node, \',\') FROM webhook_nodes'), 'home', 'and is gone');
is(query($_, 'SELECT count(*) FROM pg_replication_slots'), 0, 'no WAL is kept for it or for the home') foreach $home, $east;
query($east, 'DROP EXTENSION webhook CASCADE');

is_log_clean($_, expected => [ qr/ERROR: /, qr/FATAL: .*(?:terminating|could not|does not exist|the database system is)/ ]) foreach $home, $east;
done_testing();
