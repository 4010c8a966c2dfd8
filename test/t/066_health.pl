# Good news is believed: an answer to webhook_test() closes the circuit, whichever worker has it, and what waited goes at once.
# Bad news is told: a filter that cannot judge an event is no silence.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $webhook_count = 6;
my $event_count = 40;

my $receiver = start_receiver();
my $node = new_node(max_worker_processes => 20, 'webhook.workers' => 3);

sub query { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

query(q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text DEFAULT 'acme', note text);
	SELECT webhook_watch('items', 'item.created');
});

# --- webhook_test() and the circuit -------------------------------------------------------------------------------------

# With these ids, each of three workers owns some.
my @webhooks = map {
	create_webhook($node, id => sprintf('00000000-0000-4000-8000-%012d', $_), name => "hook $_", organization_id => 'acme',
		url => $receiver->url("/status/500?hook=$_"), events => ['item.created'], retry_schedule => ['1 hour'])
} 1 .. $webhook_count;
query("INSERT INTO items SELECT generate_series(1, $event_count)");
eventually { query("SELECT count(*) FROM webhook_stats WHERE circuit = 'open' AND pending = $event_count") == $webhook_count }
'all circuits open';
is(query("SELECT count(DISTINCT webhook_test) FROM (SELECT (webhook_test(id)).status AS webhook_test FROM webhook_configurations) t
	WHERE webhook_test = 'failed'"), 1, 'tests fail');
is(query("SELECT count(*) FROM webhook_stats WHERE circuit = 'open'"), $webhook_count, 'which changes nothing');
# So far that no probe closes them before the tests do.
eventually { query(q{SELECT count(*) FROM webhook_stats WHERE next_probe_at > now() + interval '25 s'}) == $webhook_count }
'probes become rare';
$receiver->set('/status/500', '/ok');
my $tested = query('SELECT clock_timestamp()');
is(query("SELECT DISTINCT (webhook_test(id)).status FROM webhook_configurations"), 'success', 'tests succeed');
eventually { query(q{SELECT count(*) FROM webhook_stats WHERE circuit = 'closed' AND failing_since IS NULL}) == $webhook_count }
'they close all circuits';
# What failed before the circuit opened, by which it did, keeps to its schedule.
eventually { query('SELECT max(pending) FROM webhook_stats') <= 5 } 'what the circuits held is sent';
is(query("SELECT count(*) FROM webhook_logs WHERE created_at > '$tested' AND status = 'failed'"), 0, 'no probe came first');

query('DELETE FROM webhook_configurations');

# --- Filters that cannot judge ------------------------------------------------------------------------------------------

# What the row is, the filter, and what is said of it: an error of the data or of the filter, or a bound. Of the data
# nothing is quoted. Without a word, the filter has judged: how often it lets an event pass.
my %unjudged = (
	zero => [q{'{"deep": "\u0000"}', 'x'}, '$.id > 0', qr/^unsupported Unicode escape sequence: \\u0000 cannot be converted to text/],
	number => [q{'{"deep": 1e200000}', 'x'}, '$.id > 0', qr/./],
	method => [q{'{}', 'secret words'}, '$.note.double()', qr/double/],
	overflow => [q{'{}', '1e999'}, '$.note.double()', qr/double/],
	operand => [q{'{}', 'secret words'}, '$.note + 1', qr/operand/],
	strict => [q{'{}', 'x'}, 'strict $.note.missing', qr/^jsonpath member accessor|^JSON object does not contain key/],
	division => [q{'{}', 'x'}, '$.id / 0', qr/^division by zero \(SQLSTATE 22012\)$/],
	nested => [q{repeat('[', 1100) || repeat(']', 1100), 'x'}, '$.id > 0', qr/beyond what filters may see/],
	large => [q{'{}', repeat('x', 300000)}, '$.id > 0', qr/beyond what filters may see/],
	slow => [q{(SELECT json_agg(i) FROM generate_series(1, 3000) i)::text, 'x'}, '$.extra[*] ? (@ == $.extra[*]) == "x"',
		qr/^it took too long$/],
	control => [q{to_json('a' || chr(1) || 'b')::text, 'x'}, '$.id > 0', undef, 3],
	lax => [q{'{}', 'x'}, '$.missing.deeper > 0', undef, 0],
	unknown => [q{'{}', 'x'}, '$.note > 0', undef, 0],
	no => [q{'{}', 'x'}, '$.id < 0', undef, 0]);
my %judged;
query(q{CREATE TABLE documents (id bigint PRIMARY KEY, organization_id text, extra json, note text);
	SELECT webhook_watch('documents', 'document.created')});
my $id = 0;
foreach my $case (sort keys %unjudged)
{
	my ($row, $filter, $error, $passes) = @{ $unjudged{$case} };
	my $webhook = create_webhook($node, name => $case, organization_id => $case, url => $receiver->url("/ok?$case"),
		events => ['document.created'], filter => $filter);
	my $all = create_webhook($node, name => "all $case", organization_id => $case, url => $receiver->url("/ok?all-$case"),
		events => ['document.created']);
	query("INSERT INTO documents (id, organization_id, extra, note) SELECT ${id} + i, '$case', r.extra::json, r.note
		FROM generate_series(1, 3) i, (SELECT $row) r (extra, note)");
	$id += 3;
	eventually { $receiver->count("/ok?all-$case") == 3 } "$case: who has no filter gets the events";
	if (!defined $error)
	{
		$judged{$webhook} = [ $case, $passes ];
		next;
	}
	eventually { query("SELECT unjudged FROM webhook_stats WHERE configuration_id = '$webhook'") == 3 } "$case: webhook_stats counts";
	is($receiver->count("/ok?$case"), 0, "$case: nothing is delivered");
	my $told = query("SELECT filter_error FROM webhook_stats WHERE configuration_id = '$webhook' AND filter_failed_at <= now()");
	like($told, $error, "$case: and names the last");
	unlike($told, qr/secret words/, "$case: without the data");
	like(query("SELECT severity, finding FROM webhook_check('$webhook')"),
		qr/^warning\|its filter could not judge 3 events in the last 24 hours, which were not delivered; the last at .*: \Q$told\E$/m,
		"$case: webhook_check tells");
	my @lines = grep {
		/LOG: .*(?:the filter of webhook "$case" .* (?:could not be evaluated|took too long)|data of organization "$case" is beyond)/
	} split /\n/, slurp_file($node->logfile);
	# A filter that takes too long is left alone for a second, and then has another line.
	my $lines_max = $case eq 'slow' ? 3 : 1;
	ok(@lines >= 1 && @lines <= $lines_max, "$case: the log has a line") or diag(@lines);
	if ($case eq 'division')
	{
		query("INSERT INTO documents (id, organization_id) VALUES (-1, '$case')");
		eventually { query("SELECT unjudged FROM webhook_stats WHERE configuration_id = '$webhook'") == 4 } "$case: what comes later is added";
	}
	query("UPDATE webhook_configurations SET filter = '\$.id >= 0' WHERE id = '$webhook'");
	eventually { query("SELECT filter_failed_at IS NULL FROM webhook_stats WHERE configuration_id = '$webhook'") eq 't' }
	"$case: another filter makes it good";
	unlike(query("SELECT finding FROM webhook_check('$webhook')"), qr/its filter could not judge/, "$case: webhook_check too");
}
foreach my $webhook (keys %judged)
{
	my ($case, $passes) = @{ $judged{$webhook} };
	is($receiver->count("/ok?$case"), $passes, "$case: the filter has judged");
	is(query("SELECT unjudged, filter_failed_at IS NULL FROM webhook_stats WHERE configuration_id = '$webhook'"), '0|t',
		"$case: which is no error");
}

is_log_clean($node);
$node->stop;

done_testing();
