# webhook_test(): a backend asks the worker to send something now, and waits. Whatever happens to either of them, the
# other is not harmed, and no slot is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my $receiver = start_receiver();
# Segments of dynamic shared memory are files then, which can be counted.
my $node = new_node(dynamic_shared_memory_type => 'mmap');

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

# The error of a query that fails.
sub refused
{
	my ($query, $dbname) = @_;
	my ($status, $stdout, $stderr) = $node->psql($dbname // 'postgres', $query);
	isnt($status, 0, "it is refused: $query");
	return $stderr;
}

sub tested { my ($webhook, $columns) = @_; return sql("SELECT $columns FROM webhook_test('$webhook') t"); }
sub segments { return scalar(my @files = glob($node->data_dir . '/pg_dynshmem/mmap.*')); }
sub worker_pid { return sql('SELECT pid FROM webhook_workers'); }
sub waiting { return sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT%webhook_test(%' AND pid <> pg_backend_pid() AND state = 'active'"); }

eventually { worker_pid() ne '' } 'a worker runs';
my $webhook = create_webhook(
	$node,
	url => $receiver->url('/status/202/body/thanks?ok'),
	events => ['contact.created'],
	secret => 'a long secret',
	headers => '{"X-Key": "k"}');

# --- What is sent, and what comes of it ---

is(tested($webhook, 'status, response_status, response_body, error IS NULL, duration_ms > 0, log_id > 0'),
	'success|202|thanks|t|t|t', 'a test that succeeds');
my ($request) = $receiver->received('/status/202/body/thanks?ok');
like($request->{body}, qr/^\{"event":"webhook\.test","timestamp":"[^"]+","data":\{"message":"This is a test of your webhook\."\}\}$/, 'the example is sent');
is($request->{headers}{'x-webhook-test'}, 'true', 'marked as a test');
is($request->{headers}{'x-webhook-attempt'}, 1, 'as a first attempt');
is($request->{headers}{'x-key'}, 'k', 'with the webhook\'s headers');
is( sql("SELECT webhook_verify('$request->{webhook_id}', $request->{headers}{'webhook-timestamp'}, \$b\$$request->{body}\$b\$, "
		  . "'$request->{headers}{'webhook-signature'}', 'a long secret') AND "
		  . "webhook_verify(\$b\$$request->{body}\$b\$, '$request->{headers}{'x-webhook-signature'}', 'a long secret')"),
	't', 'and signed');
is(sql("SELECT event, attempt, status, response_status, response_body, event_id < 0 FROM webhook_logs"),
	'webhook.test|1|success|202|thanks|t', 'it is logged');
is(sql('SELECT count(*) FROM webhook_deliveries'), 0, 'and is no delivery');
is(sql("SELECT event_id < 0, event FROM webhook_find('$request->{webhook_id}')"), 't|webhook.test', 'webhook_find knows its id as a test\'s');

sql("SELECT webhook_test('$webhook', 'deal.created')");
like(($receiver->received('/status/202/body/thanks?ok'))[1]{body}, qr/^\{"event":"deal\.created".*"title":"Analytical engine"/, 'another event may be named');
is(scalar(keys %{ $receiver->counts_by_webhook_id('/status/202/body/thanks?ok') }), 2, 'each test has its own webhook-id');

# --- Data of one's own ---

my $own_data = '{"id":  4711, "name": "Ada \u2713", "tags": []}';
my $told = sql("SELECT request FROM webhook_test('$webhook', 'contact.created', \$d\$$own_data\$d\$)");
($request) = ($receiver->received('/status/202/body/thanks?ok'))[-1];
like($request->{body}, qr/^\{"event":"contact\.created","timestamp":"[^"]+","data":\Q$own_data\E\}$/, 'data of one\'s own is sent as it is');
is( sql("SELECT webhook_verify('$request->{webhook_id}', $request->{headers}{'webhook-timestamp'}, \$b\$$request->{body}\$b\$, "
		  . "'$request->{headers}{'webhook-signature'}', 'a long secret')"), 't', 'and signed');
is($request->{headers}{'x-webhook-event'}, 'contact.created', 'as that event');
my $request_of_test = sub { my ($path) = @_; return sql("SELECT \$t\$$told\$t\$::json #>> '$path'") };
is($request_of_test->('{body}'), $request->{body}, 'the body that was sent is told');
is($request_of_test->('{url}'), $receiver->url('/status/202/body/thanks?ok'), 'and the URL');
is($request_of_test->('{headers,X-Key}'), '***', 'of the webhook\'s own headers the names');
foreach my $name ('Content-Type', 'User-Agent', 'X-Webhook-Event', 'X-Webhook-Id', 'webhook-id', 'X-Webhook-Attempt', 'X-Webhook-Timestamp',
	'X-Webhook-Signature', 'webhook-timestamp', 'webhook-signature', 'X-Webhook-Test')
{
	is($request_of_test->("{headers,$name}"), $request->{headers}{ lc $name }, "and $name as it was sent");
}
is(sql("SELECT json_typeof(request -> 'headers') FROM webhook_test('$webhook')"), 'object', 'with the example, too');
my $large = q{('[' || repeat('0,', 524286) || '0]')};    # 1048575 bytes
is(sql("SELECT status, length(request ->> 'body') > 1048500 FROM webhook_test('$webhook', payload => $large\::json)"), 'success|t',
	'data may have webhook.max_payload bytes');
like(refused("SELECT webhook_test('$webhook', payload => (' ' || $large || '   ')::json)"),
	qr/ERROR:  the data of a test can have at most 1048576 bytes\s+DETAIL:  It has 1048579\.\s+HINT:  The limit is webhook\.max_payload/,
	'and no more');
like(refused("SELECT webhook_test('$webhook', 'contact.creatd', '{}')"), qr/unknown event "contact\.creatd"/, 'the event must be known');
my $segments = segments();

my $failing = create_webhook($node, url => $receiver->url('/status/500?failing'), events => ['contact.created']);
is(tested($failing, 'status, response_status, error'), 'failed|500|HTTP status 500', 'a test that fails');
my $hanging = create_webhook($node, url => $receiver->url('/hang?hanging'), events => ['contact.created'], timeout_ms => 300);
like(tested($hanging, 'status, response_status, error'), qr/^failed\|\|./, 'a test that times out');
my $refused = create_webhook($node, url => 'http://10.0.0.1/', events => ['contact.created']);
like(tested($refused, 'status, response_status, error'), qr/^failed\|\|./, 'an address that policy refuses');
is(sql("SELECT count(*) FROM webhook_logs WHERE configuration_id IN ('$failing', '$hanging', '$refused') AND next_attempt_at IS NULL"), 3,
	'failures are logged');
is(sql('SELECT count(*) FROM webhook_deliveries'), 0, 'and not retried');
sql("UPDATE webhook_configurations SET is_active = false WHERE id = '$webhook'");
is(tested($webhook, 'status'), 'success', 'an inactive webhook can be tested');
sql("UPDATE webhook_configurations SET is_active = true WHERE id = '$webhook'");

# --- What is not committed; what is rolled back ---

like(refused(q{BEGIN; WITH made AS (INSERT INTO webhook_configurations (id, name, url, events) VALUES
	('00000000-0000-0000-0000-0000000000aa', 'new', 'http://127.0.0.1/', '{*}') RETURNING id) SELECT FROM made;
	SELECT webhook_test('00000000-0000-0000-0000-0000000000aa')}),
	qr/ERROR:  webhook 00000000-0000-0000-0000-0000000000aa is not committed yet.*HINT:  Commit/s, 'an uncommitted webhook');
my $logged = sql('SELECT count(*) FROM webhook_logs');
sql("BEGIN; SELECT webhook_test('$webhook'); ROLLBACK");
is(sql('SELECT count(*) FROM webhook_logs'), $logged + 1, 'a test stays logged though the caller rolls back');
like(refused("BEGIN READ ONLY; SELECT webhook_test('$webhook')"),
	qr/cannot execute webhook_test\(\) in a read-only transaction/, 'a read-only transaction');
sql('SELECT webhook_pause(\'maintenance\')');
like(refused("SELECT webhook_test('$webhook')"), qr/this database is paused.*maintenance.*webhook_resume/s, 'a paused database');
sql('SELECT webhook_resume()');
$node->append_conf('postgresql.conf', 'webhook.enabled = off');
$node->reload;
eventually { my (undef, undef, $e) = $node->psql('postgres', "SELECT webhook_test('$webhook')"); $e =~ /webhook\.enabled is off/ } 'switched off';
$node->append_conf('postgresql.conf', 'webhook.enabled = on');
$node->reload;
eventually { my ($s) = $node->psql('postgres', "SELECT webhook_test('$webhook')"); $s == 0 } 'and on again';

# --- Callers that give up, one after the other; what they have asked for is still being sent ---

my $slow = create_webhook($node, url => $receiver->url('/hang?slow'), events => ['contact.created'], timeout_ms => 60000);
my $session = WebhookTest::Session->new($node, 'postgres');
my $pid = $session->query('SELECT pg_backend_pid()');
my $began = time;
$session->send("SELECT webhook_test('$slow', payload => $large\::json)");
eventually { $receiver->count('/hang?slow') == 1 } 'a test hangs';
is(segments(), $segments + 1, 'its data is in a segment');
sql("SELECT pg_cancel_backend($pid)");
is($session->query("SELECT 'lives'"), 'lives', 'a cancel ends the waiting');
like($session->errors, qr/canceling statement due to user request/, 'with the usual error');
is(segments(), $segments, 'and the segment is gone');
like(refused("SET statement_timeout = '200ms'; SELECT webhook_test('$slow')"), qr/canceling statement due to statement timeout/, 'so does statement_timeout');
for my $i (1 .. 8) { $node->psql('postgres', "SET statement_timeout = '50ms'; SELECT webhook_test('$slow')"); }
$session->send("SELECT webhook_test('$slow')");
eventually { waiting() == 1 } 'a session waits';
sql("SELECT pg_terminate_backend($pid)");
eventually { waiting() == 0 } 'and is terminated';
cmp_ok(time - $began, '<', 55, 'all of that before any request has ended');
is(tested($webhook, 'status'), 'success', 'others can test meanwhile');
eventually { segments() == $segments } 'no segment is left of any of them';

# --- The worker ends meanwhile ---

my $waiter = WebhookTest::Session->new($node, 'postgres');
$waiter->send("SELECT webhook_test('$slow')");
eventually { waiting() == 1 } 'a session waits for the worker';
my $sent = $receiver->count('/hang?slow');
my $worker = worker_pid();
sql("SELECT pg_terminate_backend($worker)");
is($waiter->query("SELECT 'lives'"), 'lives', 'it does not wait for a worker that was terminated');
like($waiter->errors, qr/the worker ended before the test did/, 'and is told so');
eventually { my $p = worker_pid(); $p ne '' && $p ne $worker } 'another worker starts';
eventually { my ($s) = $node->psql('postgres', "SELECT webhook_test('$webhook')"); $s == 0 } 'and takes tests';

# --- All slots: 20 callers at once ---

my $busy = create_webhook($node, url => $receiver->url('/delay/4000?busy'), events => ['contact.created'], timeout_ms => 20000);
my @sessions = map { WebhookTest::Session->new($node, 'postgres') } 1 .. 20;
$_->query('SELECT 1') foreach @sessions;
$_->send("SELECT status FROM webhook_test('$busy')") foreach @sessions;
my @answers = map { $_->query('SELECT 1') } @sessions;
is(scalar(grep { /success/ } @answers), 12, 'of 20 callers at once 12 are served');
is(scalar(grep { $_->errors =~ /too many tests of webhooks are under way/ } @sessions), 8, 'the others are told to try again');
is($receiver->count('/delay/4000?busy'), 12, 'by 12 requests');
is(tested($webhook, 'status'), 'success', 'all slots are free again');
$_->finish foreach @sessions;

# --- An organization that would have all slots: 4 callers wait, 4 more have given up ---

foreach my $gives_up (0, 1)
{
	my $path = "/hang?umbrella$gives_up";
	my %webhook = map {
		my $organization = $_;
		my $url = $organization eq 'umbrella' ? $receiver->url($path) : $receiver->url('/ok?initech');
		($organization => create_webhook($node, organization_id => $organization, url => $url, events => ['contact.created'],
			timeout_ms => 60000));
	} qw(umbrella initech);
	my @callers = map { WebhookTest::Session->new($node, 'postgres') } 1 .. 4;
	my @pids = map { $_->query('SELECT pg_backend_pid()') } @callers;
	$_->send("SELECT status FROM webhook_test('$webhook{umbrella}')") foreach @callers;
	eventually { $receiver->count($path) == 4 } 'four tests of an organization are under way';
	if ($gives_up)
	{
		sql("SELECT pg_cancel_backend($_)") foreach @pids;
		eventually { waiting() == 0 } 'their callers give up';
	}
	like(refused("SELECT webhook_test('$webhook{umbrella}')"),
		qr/ERROR:  too many tests of webhooks of organization "umbrella" are under way.*DETAIL:  At most 4 .*HINT:  Try again when/s,
		'a fifth is refused');
	is($receiver->count($path), 4, 'and not sent');
	is(tested($webhook{initech}, 'status'), 'success', 'another organization can test');
	is(tested($webhook, 'status'), 'success', 'and so can who has none');
	my $ended = worker_pid();
	sql("SELECT pg_terminate_backend($ended)");
	eventually { my $p = worker_pid(); $p ne '' && $p ne $ended } 'another worker starts';
	$_->query('SELECT 1') foreach @callers;
	sql("UPDATE webhook_configurations SET url = '@{[$receiver->url('/ok?umbrella')]}' WHERE id = '$webhook{umbrella}'");
	eventually
	{
		my (undef, $status) = $node->psql('postgres', "SELECT status FROM webhook_test('$webhook{umbrella}')");
		$status eq 'success'
	}
		'with the worker that was sending them they are gone';
	$_->finish foreach @callers;
}

# --- As PostgREST makes its sessions ---

sql(q{CREATE ROLE web_user; SELECT webhook_grant('web_user')});
sub as_tenant
{
	my ($organization, $query) = @_;
	return "BEGIN; SET LOCAL role = web_user; SET LOCAL request.jwt.claims = '{\"organization_id\": \"$organization\"}'; $query; COMMIT";
}
my $url = $receiver->url('/ok?tenant');
my $own = sql(as_tenant('acme', "INSERT INTO webhook_configurations (name, url, events, secret) VALUES ('own', '$url', '{contact.*}', 'a long secret') RETURNING id"));
sql(as_tenant('acme', "UPDATE webhook_configurations SET timeout_ms = 2000 WHERE id = '$own'"));
is(sql(as_tenant('acme', "SELECT status, response_status FROM webhook_test('$own')")), 'success|200', 'a tenant tests its webhook');
like(refused(as_tenant('globex', "SELECT webhook_test('$own')")), qr/does not exist, or belongs to another organization/, 'another tenant does not');
like(refused(as_tenant('globex', "SELECT webhook_internal.test_tenant('$own', 'webhook.test', '{}')")), qr/does not exist, or belongs to another organization/, 'nor round the corner');
like(refused(as_tenant('acme', "SELECT webhook_internal.send_test('$own', now(), '', 'webhook.test', '{}', 1000)")), qr/permission denied/, 'nor directly');
is($receiver->count('/ok?tenant'), 1, 'nothing was sent for it');
is(sql(as_tenant('acme', "UPDATE webhook_configurations SET is_active = false WHERE id = '$own' RETURNING is_active")), 'f', 'a tenant switches it off');
is(sql(as_tenant('acme', "SELECT event, status FROM webhook_logs")), 'webhook.test|success', 'reads its log');
is(sql(as_tenant('globex', "SELECT count(*) FROM webhook_logs")), 0, 'which another does not');
is(sql(as_tenant('acme', "DELETE FROM webhook_configurations WHERE id = '$own' RETURNING name")), 'own', 'and deletes it');

# --- A crash of either side ---

foreach my $crashed ('caller', 'worker')
{
	my $path = "/hang?crash-of-$crashed";
	my $hung = create_webhook($node, url => $receiver->url($path), events => ['contact.created'], timeout_ms => 60000);
	my $caller = WebhookTest::Session->new($node, 'postgres');
	my $caller_pid = $caller->query('SELECT pg_backend_pid()');
	my $worker_before = worker_pid();
	$caller->send("SELECT webhook_test('$hung', payload => $large\::json)");
	eventually { $receiver->count($path) == 1 } "a test is under way when its $crashed crashes";
	kill 'KILL', $crashed eq 'caller' ? $caller_pid : $worker_before;
	eventually
	{
		my $pid = try_query($node, 'SELECT pid FROM webhook_workers') // '';
		$pid ne '' && $pid ne $worker_before
	}
		'the server starts again';
	is(segments(), $segments, 'no segment is left');
	eventually { (try_query($node, "SELECT status FROM webhook_test('$webhook', payload => '{}')") // '') eq 'success' } 'and tests are sent';
}

# --- Without a worker ---

my $bare = new_node(preload => 0);
$bare->safe_psql('postgres', q{INSERT INTO webhook_configurations (name, url, events) VALUES ('x', 'http://127.0.0.1/', '{*}')});
my (undef, undef, $error) = $bare->psql('postgres', 'SELECT webhook_test(id) FROM webhook_configurations');
like($error, qr/ERROR:  no webhook can be tested: the server does not preload the library.*HINT:  Add webhook to/s,
	'without the library preloaded it is refused at once');
$bare->stop;

is_log_clean($node, expected => [qr/ERROR: /, qr/FATAL:  terminating (connection|background worker)/, qr/was terminated by signal 9/,
	qr/FATAL:  the database system is (in recovery mode|not yet accepting connections|starting up)/]);
$node->stop;

done_testing();
