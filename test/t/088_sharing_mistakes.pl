# Several nodes, and what whoever runs them may do wrong, or has not noticed: a role that copies nothing, a node with other keys,
# a node in the home's server, on a standby or at another home, another node under the name of a lost one, a node that is taken
# over while it runs or that is switched off, an extension that was dropped at the home. Each is refused or told, and nothing is
# lost or sent twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Digest::SHA qw(hmac_sha256);
use MIME::Base64 qw(decode_base64 encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Nodes;

my $receiver = start_receiver();
my $keys = PostgreSQL::Test::Utils::tempdir() . '/keys';
append_to_file($keys, "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
chmod 0600, $keys;
my %with_keys = ('webhook.secret_key_file' => $keys);
my $home = new_member('home', %with_keys, 'webhook.max_event_size' => '1MB', 'webhook.max_saved_size' => '1MB');
my $east = new_member('east', 'webhook.retry_schedule' => join(',', ('1s') x 200));
my $west = new_member('west', %with_keys);

sub conninfo { my ($server, $more) = @_; return sql_literal($server->connstr('postgres') . ' ' . ($more // '')); }
sub join_refusal { my ($server, $name, $conninfo) = @_; return refusal($server, "SELECT webhook_join_home('$name', $conninfo)"); }
sub attach_refusal { my ($server, $name, $conninfo) = @_; return refusal($server, "SELECT webhook_attach_node('$name', $conninfo)"); }
sub insert { my ($rows) = @_; query($home, "INSERT INTO things (note) SELECT noise() FROM generate_series(1, $rows)"); return; }

query($home, q{
	CREATE FUNCTION noise() RETURNS text LANGUAGE sql AS $$SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 125)$$;
	CREATE TABLE things (id bigserial PRIMARY KEY, organization_id text NOT NULL DEFAULT 'acme', note text)});
query($home, q{SELECT webhook_watch('things', 'thing.created')});
my $secret = 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=';
my @webhooks = map { create_webhook($home, organization_id => 'acme', secret => $secret, name => "w$_", url => $receiver->url("/body/w$_"), events => ['thing.created']) } 1 .. 3;

# --- Joining ------------------------------------------------------------------------------------------------------------

query($home, 'CREATE ROLE copier LOGIN REPLICATION');
run_written($home, q{webhook_home('copier')});
is(query($home, q{SELECT rolbypassrls FROM pg_roles WHERE rolname = 'copier'}), 't', 'a role that exists is made to read what it has to copy');
is(query($home, q{SELECT count(*) FROM webhook_home('copier') s WHERE s ~ 'ROLE'}), 0, 'which is not repeated');
query($home, 'ALTER ROLE copier NOBYPASSRLS');
like(join_refusal($west, 'west', conninfo($home, 'user=copier')),
	qr/^ERROR:  row-level security hides the webhooks from role copier over there\nHINT:  Over there: ALTER ROLE copier BYPASSRLS;/,
	'a role that would copy no webhook');
query($home, 'ALTER ROLE copier BYPASSRLS');
like(join_refusal($east, 'east', conninfo($home, 'user=copier')),
	qr/^ERROR:  the secrets of the home cannot be decrypted here\nDETAIL:  One of them: .*k1.*\nHINT:  Set webhook.secret_key_file /, 'a node without the keys');
$east->append_conf('postgresql.conf', "webhook.secret_key_file = '$keys'");
$east->reload;

query($home, 'CREATE DATABASE second');
$home->safe_psql('second', 'CREATE EXTENSION webhook; CREATE EXTENSION dblink');
wait_until { $home->safe_psql('second', 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker there';
my (undef, undef, $same_server) = $home->psql('second', "SELECT webhook_join_home('second', @{[conninfo($home)]})");
like($same_server, qr/ERROR:  the connection string leads to another database of this server\nHINT:  /, 'a node in the server of the home');
query($home, 'DROP DATABASE second WITH (FORCE)');

$home->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($home, 'backup', has_streaming => 1);
$standby->start;
like(join_refusal($east, 'east', conninfo($standby)), qr/^ERROR:  the server over there is a standby\nHINT:  Name its primary/, 'the standby of a home');
$standby->stop;
is(query($home, 'SELECT count(*) FROM pg_replication_slots') + query($_, 'SELECT count(*) FROM pg_subscription'), 0, 'nothing is half-made')
	foreach $east, $west;

# --- Attaching ------------------------------------------------------------------------------------------------------------

run_written($east, "webhook_join_home('east', @{[conninfo($home, 'user=copier')]})");
like(attach_refusal($home, 'west', conninfo($east)),
	qr/^ERROR:  the database over there has not joined as node "west"\nDETAIL:  It has joined as "east"\.\nHINT:  /, 'a node under another name');
run_written($west, 'webhook_home()');
like(attach_refusal($west, 'east', conninfo($east)), qr/^ERROR:  node "east" has not joined this home\nDETAIL:  .*\nHINT:  Attach it at the home/,
	'the node of another home');
is(query($east, q{SELECT count(*) FROM pg_replication_slots}), 0, 'takes no slot there');
query($west, 'DROP EXTENSION webhook CASCADE; CREATE EXTENSION webhook');
wait_until { query($west, 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker';
run_written($home, "webhook_attach_node('east', @{[conninfo($east)]})");
wait_until { query($home, q{SELECT settled > 0 FROM webhook_internal.nodes WHERE name = 'east'}) eq 't' } 'east has all webhooks';
join_home($home, 'west', $west);

# --- Edits reach the nodes ---------------------------------------------------------------------------------------------------

# What the home publishes, but for what each server stamps itself.
sub published
{
	my ($server) = @_;
	return query($server, q{SELECT string_agg(row, chr(10)) FROM (
		SELECT (to_jsonb(c) - 'changed_xid')::text FROM webhook_configurations c UNION ALL
		SELECT (to_jsonb(s) - 'created_xid')::text FROM webhook_secrets s UNION ALL
		SELECT to_jsonb(t)::text FROM webhook_event_types t UNION ALL
		SELECT to_jsonb(d)::text FROM webhook_node_shares d ORDER BY 1) r (row)});
}

my $edited = create_webhook($home, organization_id => 'acme', secret => $secret, name => 'edited', url => $receiver->url('/body/edited'), events => ['thing.created']);
foreach my $edit (
	'SELECT 1', "SELECT webhook_rotate_secret('WEBHOOK')", "SELECT webhook_rotate_secret('WEBHOOK', '0')",
	"UPDATE webhook_configurations SET secret = 'whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=' WHERE id = 'WEBHOOK'",
	"UPDATE webhook_configurations SET headers = '{\"X-A\": \"b\"}', filter = '\$.id > 0', timeout_ms = 2000 WHERE id = 'WEBHOOK'",
	"UPDATE webhook_configurations SET is_active = false WHERE id = 'WEBHOOK'", "UPDATE webhook_configurations SET is_active = true WHERE id = 'WEBHOOK'",
	"INSERT INTO webhook_event_types (name, category) VALUES ('thing.mended', 'things')", "DELETE FROM webhook_event_types WHERE name = 'thing.mended'",
	q{SELECT webhook_share('{home}')}, q{SELECT webhook_share('{east}')}, 'EVENT',
	"UPDATE webhook_configurations SET secret = NULL WHERE id = 'WEBHOOK'", "DELETE FROM webhook_configurations WHERE id = 'WEBHOOK'")
{
	my $sql = $edit =~ s/WEBHOOK/$edited/gr;
	if ($edit eq 'EVENT')
	{
		insert(1);
		eventually { $receiver->count('/body/edited') == 1 } 'a webhook with a secret is delivered by a node';
		my ($request) = $receiver->received('/body/edited');
		my $key = decode_base64('ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=');
		is($request->{headers}{'webhook-signature'}, 'v1,' . encode_base64(hmac_sha256(
			join('.', @{ $request->{headers} }{qw(webhook-id webhook-timestamp)}, $request->{body}), $key), ''), 'with the secret that it has now');
		next;
	}
	query($home, $sql);
	my $at_home;
	eventually { $at_home = published($home); published($east) eq $at_home && published($west) eq $at_home } "the nodes have it, too: $edit";
}

# --- Webhooks that are edited all the time ---------------------------------------------------------------------------------

my @editors = map { my $webhook = $_; start_session($home, join('', map { "UPDATE webhook_configurations SET name = name || 'x' WHERE id = '$webhook';
	UPDATE webhook_configurations SET name = left(name, 2) WHERE id = '$webhook';\n" } 1 .. 4000)) } @webhooks;
wait_until { query($home, 'SELECT min(version) > 10 FROM webhook_configurations') eq 't' } 'they are edited';
my $before = query($home, 'SELECT sum(version) FROM webhook_configurations');
is(refusal($home, "SELECT webhook_share('$_')"), '', "do not keep them from being divided: $_") foreach '{home,east}', '{east,west}', '{east}';
cmp_ok(query($home, 'SELECT sum(version) FROM webhook_configurations'), '>', $before, 'while they were');
$_->kill_kill foreach @editors;
wait_until { query($home, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE webhook_configurations%' AND pid <> pg_backend_pid()}) == 0 } 'they end';
my $editor = $home->background_psql('postgres');
my $pid = $editor->query_safe('SELECT pg_backend_pid()');
$editor->query_safe("BEGIN; UPDATE webhook_configurations SET name = name WHERE id = '$webhooks[0]'");
like(refusal($home, q{SELECT webhook_share('{home,east}')}),
	qr/^ERROR:  webhooks are being edited\nDETAIL:  The transactions .*: process $pid\.\nHINT:  Try again\. pg_terminate_backend\(\)/, 'a transaction that stays open is named');
$editor->query_safe('ROLLBACK');
$editor->quit;

# --- A node that is switched off --------------------------------------------------------------------------------------------

eventually { is_settled_at_home($home, $_) } "$_ has settled all" foreach 'east', 'west';
$east->append_conf('postgresql.conf', 'webhook.enabled = off');
$east->reload;
wait_until { query($east, q{SELECT reason FROM webhook_health() WHERE component = 'switches'}) ne '' } 'it is off';
insert(1);
wait_until { !is_settled_at_home($home, 'east') && is_settled_at_home($home, 'west') } 'a mark that it does not settle';
query($home, q{UPDATE webhook_internal.node_marks SET made_at = clock_timestamp() + interval '1 hour'});
is(query($home, q{SELECT status FROM webhook_health() WHERE component = 'subscriptions'}), 'ok', 'is no alarm for a minute');
query($home, q{UPDATE webhook_internal.node_marks SET made_at = clock_timestamp() - interval '61 s'});
is(query($home, q{SELECT status || ': ' || reason FROM webhook_health() WHERE component = 'subscriptions'}),
	'degraded: nodes that share the webhooks are connected, and have not finished what was captured more than a minute ago: east', 'then it is');
like(query($home, "SELECT string_agg(severity || ' ' || finding, ';') FROM webhook_check('$webhooks[0]')"),
	qr/warning node "east" has not finished what was captured since /, 'for its webhooks, too');
$east->append_conf('postgresql.conf', 'webhook.enabled = on');
$east->reload;
eventually { query($home, q{SELECT status FROM webhook_health() WHERE component = 'subscriptions'}) eq 'ok' } 'until it is on again';

# --- An operator on the node ------------------------------------------------------------------------------------------------

query($_, q{CREATE ROLE operator LOGIN; SELECT webhook_grant('operator', 'operate')}) foreach $home, $east;
is(query($east, 'SET ROLE operator; SELECT count(*) FROM (SELECT FROM webhook_instance FOR UPDATE) i'), 0, 'on a node nobody locks what pauses it');
like(refusal($east, q{SET ROLE operator; SELECT webhook_internal.set_paused(true, 'here')}), qr/ERROR:  this database is node "east", not the home\n/, 'nor changes it');
is(query($home, 'SET ROLE operator; SELECT count(*) FROM (SELECT FROM webhook_instance FOR UPDATE) i'), 1, 'at the home they may');

# --- A node that lacks a key ----------------------------------------------------------------------------------------------

append_to_file("$keys.new", "k2 HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n" . slurp_file($keys));
chmod 0600, "$keys.new";
$home->append_conf('postgresql.conf', "webhook.secret_key_file = '$keys.new'");
$home->reload;
my $sealed = create_webhook($home, organization_id => 'acme', secret => $secret, name => 'sealed', url => $receiver->url('/body/sealed'), events => ['thing.created']);
insert(1);
eventually { query($home, "SELECT string_agg(severity || ' ' || finding, ';') FROM webhook_check('$sealed')") =~ /error the node that delivers it cannot send it: .*k2/ }
	'webhook_check() tells what a node cannot send';
foreach my $node ($east, $west)
{
	$node->append_conf('postgresql.conf', "webhook.secret_key_file = '$keys.new'");
	$node->reload;
}
eventually { $receiver->count('/body/sealed') == 1 } 'until it can';
query($home, "DELETE FROM webhook_configurations WHERE id = '$sealed'");

# --- More than may be saved at the home --------------------------------------------------------------------------------------

$receiver->set("/body/w$_", '/status/503') foreach 1 .. 3;
insert(200) foreach 1 .. 4;
my $pending = q{SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'};
eventually { query($east, $pending) == 2400 && query($home, $pending) == 2400 } 'many are pending at the node';
insert(1);
# Of 400 events of 4 kB that were emptied, it may keep 1 MB.
eventually { query($home, q{SELECT e.last_id > 400 AND (SELECT coalesce(sum(s.bytes), 0) FROM webhook_internal.saved_events s) < 1000000
	FROM webhook_internal.emptied_events e}) eq 't' } 'the home keeps no more of them than it may';
is(query($home, $pending), query($east, $pending), 'which are pending at the node all the same');
is(query($home, q{SELECT count(*) FROM webhook_logs WHERE error LIKE '%its organization%'}), 0, 'and are not called given up');
$receiver->set("/body/w$_", undef) foreach 1 .. 3;
eventually { query($home, $pending) == 0 } 'and arrive';
is(scalar(keys %{ row_counts($receiver, "/body/w$_") }), query($home, 'SELECT count(*) FROM things'), 'all of them') foreach 1 .. 3;

# --- A node is taken over while it runs ---------------------------------------------------------------------------------------

query($home, q{SELECT webhook_share('{west}')});
eventually { is_settled_at_home($home, $_) } "$_ has settled all" foreach 'east', 'west';
$receiver->set("/body/w$_", '/status/503') foreach 1 .. 3;
insert(20);
eventually { query($home, q{SELECT count(*) FROM webhook_internal.node_deliveries WHERE node = 'west' AND attempts > 0}) > 0
	&& query($home, q{SELECT count(*) FROM webhook_internal.node_deliveries WHERE node = 'west'}) == 60 } 'the home knows what is pending there';
eventually { is_settled_at_home($home, 'west') } 'and that nothing else is';
is(query($home, q{SELECT webhook_take_over('west', '{home}')}), 60, 'it takes all of it');
eventually { query($west, 'SELECT is_paused, paused_reason FROM webhook_instance') eq 't|the home has taken over what this node had to deliver' }
	'the node hears of it, and is paused';
query($home, 'SELECT webhook_pause(); SELECT webhook_resume()');
insert(1);
eventually { query($west, q{SELECT count(*) FROM webhook_events e WHERE e.id >= (SELECT max(event_id) FROM webhook_deliveries)}) > 0 } 'it still hears the home';
is(query($west, 'SELECT is_paused FROM webhook_instance'), 't', 'and stays paused when that resumes its nodes');
$receiver->set("/body/w$_", undef) foreach 1 .. 3;
eventually { query($home, q{SELECT count(*) FROM webhook_deliveries}) == 0 } 'the home delivers';
eventually { scalar(keys %{ row_counts($receiver, "/body/w$_") }) == query($home, 'SELECT count(*) FROM things') } 'all arrive' foreach 1 .. 3;
is(join(' ', map { my $counts = row_counts($receiver, "/body/w$_"); scalar grep { $_ > 1 } values %$counts } 1 .. 3), '0 0 0', 'once');
query($west, 'DROP SUBSCRIPTION webhook_home');
run_written($home, q{webhook_detach_node('west')});

# --- Another node under the name of a lost one ---------------------------------------------------------------------------------

query($home, q{SELECT webhook_share('{east}')});
insert(5);
eventually { is_settled_at_home($home, 'east') } 'east delivers';
$east->stop('immediate');
query($west, 'DROP EXTENSION webhook CASCADE; CREATE EXTENSION webhook');
wait_until { query($west, 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker';
wait_until { query($home, q{SELECT active FROM pg_replication_slots WHERE slot_name = 'webhook_node_east'}) eq 'f' } 'its slot is free';
query($home, q{SELECT pg_drop_replication_slot('webhook_node_east')});
like(join_refusal($west, 'east', conninfo($home)),
	qr/^ERROR:  another node "east" has a share at the home\nHINT:  .*webhook_take_over\('east'\), then webhook_detach_node\('east'\)/, 'while that has a share, none joins under its name');
query($home, q{SELECT webhook_share('{home}')});
run_written($west, "webhook_join_home('east', @{[conninfo($home)]})");
query($home, $_) foreach 'ALTER SUBSCRIPTION webhook_node_east DISABLE', 'ALTER SUBSCRIPTION webhook_node_east SET (slot_name = NONE)', 'DROP SUBSCRIPTION webhook_node_east';
like(attach_refusal($home, 'east', conninfo($west)), qr/^ERROR:  another database is attached as node "east"\nDETAIL:  .*\nHINT:  /, 'nor is it taken for the same');
query($west, 'DROP SUBSCRIPTION webhook_home');
query($home, q{SELECT webhook_take_over('east')});
run_written($home, q{webhook_detach_node('east')});
query($west, 'DROP EXTENSION webhook CASCADE; CREATE EXTENSION webhook');
wait_until { query($west, 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker';
eventually { query($home, 'SELECT count(*) FROM webhook_internal.nodes') == 0 } 'the lost one is forgotten';
join_home($home, 'east', $west);
query($home, q{SELECT webhook_share('{east}')});
insert(5);
eventually { scalar(keys %{ row_counts($receiver, "/body/w$_") }) == query($home, 'SELECT count(*) FROM things') } 'the new one delivers' foreach 1 .. 3;

# --- The extension is dropped at the home ---------------------------------------------------------------------------------------

query($home, 'DROP EXTENSION webhook CASCADE; CREATE EXTENSION webhook');
wait_until { query($home, 'SELECT count(*) FROM webhook_instance') == 1 } 'a worker';
like(attach_refusal($home, 'east', conninfo($west)), qr/^ERROR:  node "east" is attached already\nHINT:  .*webhook_detach_node/, 'what is left of a node');
query($west, 'DROP SUBSCRIPTION webhook_home');
run_written($home, q{webhook_detach_node('east')});
is(query($home, 'SELECT (SELECT count(*) FROM pg_subscription) + (SELECT count(*) FROM pg_replication_slots)'), 0, 'is removed in the same way');
like(refusal($home, q{SELECT webhook_detach_node('east')}), qr/^ERROR:  node "east" is not attached\n/, 'until there is nothing');
eventually { query($home, q{SELECT status FROM webhook_health() WHERE component = 'subscriptions'}) eq 'ok' } 'and all is well';

# While webhooks are copied, their secrets may come after them, and a node may get a key after its home.
is_log_clean($_, expected => [ crash_lines(), qr/(?:it shows the mask of a secret, but it has none|the secret cannot be decrypted)/, qr/ERROR: /, qr/FATAL: .*(?:terminating|could not|does not exist|the database system is)/ ]) foreach $home, $west;
$_->stop foreach $home, $west;

done_testing();
