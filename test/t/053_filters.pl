# Which events a webhook gets, and how: filters, event patterns, custom headers, a rate limit. A filter that takes for ever
# holds up nobody else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP ();
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $node = new_node();
query($node, slurp_file("$FindBin::RealBin/../../examples/crm.sql"));
query($node, 'SELECT webhook_watch_crm()');
query($node, q{
	CREATE TABLE orders (id bigint PRIMARY KEY, organization_id text DEFAULT 'acme', amount numeric, note text);
	SELECT webhook_watch('orders', 'order.created');
});

sub webhook_at
{
	my ($path, %columns) = @_;
	return create_webhook($node, organization_id => 'acme', url => $receiver->url($path), events => ['order.created'], %columns);
}

# The ids of the rows that came to a path.
sub ids { my ($path) = @_; return join(' ', sort { $a <=> $b } map { $_->{data}{id} } $receiver->bodies($path)); }

sub successes
{
	my ($webhook) = @_;
	return query($node, "SELECT count(*) FROM webhook_logs WHERE configuration_id = '$webhook' AND status = 'success'");
}

sub log_lines
{
	my ($pattern) = @_;
	return scalar(() = slurp_file($node->logfile) =~ /$pattern/g);
}

# --- Filters ------------------------------------------------------------------------------------------------------------

my %filter = (
	predicate => '$.amount > 5',
	expression => '$ ? (@.amount > 5)',
	text => '$.note starts with "7"',
	none => '$.missing',
	errors => '$.note.double()');
my %filtered = map { $_ => webhook_at("/ok?$_", name => $_, filter => $filter{$_}) } keys %filter;
my $all = webhook_at('/ok?all');
query($node, q{INSERT INTO orders (id, amount, note) VALUES (1, 1, 'one'), (2, 5, '7'), (3, 5.01, '77'), (4, 10, 'no'), (5, NULL, '1e3')});
eventually { successes($all) == 5 } 'a webhook without a filter gets everything';
my %expected = (predicate => '3 4', expression => '3 4', text => '2 3', none => '', errors => '2 3 5');
foreach my $name (sort keys %expected)
{
	eventually { ids("/ok?$name") eq $expected{$name} } "$filter{$name} lets through: $expected{$name}"
	  or diag(ids("/ok?$name"));
}
my $explained = query($node, q{
	SELECT x.name, x.matched, x.reason, x.outcome
	FROM webhook_events e, webhook_explain(e.id) x
	WHERE e.data ->> 'id' = '4' AND e.event = 'order.created' ORDER BY x.name});
like($explained, qr/^errors\|f\|filter: \$\."note"\.double\(\) cannot be evaluated: .*double/m,
	'webhook_explain says that a filter could not be evaluated');
like($explained, qr/^text\|f\|filter: .* does not match\|$/m, 'or that it does not match');
like($explained, qr/^predicate\|t\|\|delivered$/m, 'or that it does');
query($node, q{DELETE FROM webhook_configurations});

# --- A filter without an end --------------------------------------------------------------------------------------------

# 200 arrays within each other: each .** multiplies.
my $nested = '[' x 200 . '1' . ']' x 200;
query($node, q{SELECT webhook_watch('contacts', 'contact.created')});
my $exploding = create_webhook($node, name => 'exploding', organization_id => 'evil', url => $receiver->url('/ok?exploding'),
	events => ['contact.*'], filter => '$.**.**.**.** ? (@ == 2)');
my $healthy = webhook_at('/ok?healthy', filter => '$.amount > 5');
query($node, qq{
	SELECT webhook_emit('contact.created', '{"id":1,"nested":$nested}', 'evil') FROM generate_series(1, 10);
	INSERT INTO orders (id, amount) SELECT $_ * 10, 9 FROM generate_series(1, 1);}) foreach 10 .. 59;
eventually { successes($healthy) == 50 } 'other webhooks get everything while one has a filter without an end';
is($receiver->count('/ok?healthy'), 50, 'once');
eventually { query($node, 'SELECT events_ahead FROM webhook_workers') == 0 } 'the worker gets through with all events';
is($receiver->count('/ok?exploding'), 0, 'what took too long is no match');
is(query($node, q{SELECT count(*) FROM webhook_events WHERE organization_id = 'evil'}), 500, 'though it was recorded');
is(log_lines(qr/LOG:  .*the filter of webhook "exploding" \($exploding\) took too long/), 1, 'and the log says so once');
is(log_lines(qr/LOG:  .*the filter of webhook .* took too long/), 1, 'of no other');
my ($memory_kb) = slurp_file('/proc/' . query($node, 'SELECT pid FROM webhook_workers') . '/status') =~ /^VmHWM:\s+(\d+) kB/m;
cmp_ok($memory_kb, '<', 256 * 1024, 'nor did it take the memory of the worker');
query($node, q{DELETE FROM webhook_configurations});

# The same filter of two tenants, on data of which one's alone takes for ever, read together.
my $shared = '$.**.**.**.** ? (@ == 2)';
my $slow = create_webhook($node, name => 'slow', organization_id => 'evil', url => $receiver->url('/ok?slow'),
	events => ['contact.*'], filter => $shared);
my $same = create_webhook($node, name => 'same', organization_id => 'acme', url => $receiver->url('/ok?same'),
	events => ['contact.*'], filter => $shared);
query($node, qq{
	BEGIN;
	SELECT webhook_emit('contact.created', '{"id":1,"nested":$nested}', 'evil');
	SELECT webhook_emit('contact.created', '{"id":2}', 'acme');
	COMMIT});
eventually { log_lines(qr/LOG:  .*the filter of webhook "slow" \($slow\) took too long/) == 1 } 'a filter takes too long';
eventually { successes($same) == 1 } 'the same filter of another tenant, on other data, does not count as too slow';
is($receiver->count('/ok?slow'), 0, 'the slow one lets nothing through');
query($node, q{DELETE FROM webhook_configurations});

# --- A tenant's filters and events beside those of another ---------------------------------------------------------------

# So many webhooks of the tenant evil, with a filter each, in which a question mark stands for the number.
sub evil_webhooks
{
	my ($count, $filter) = @_;
	$filter =~ s/\?/' || i || '/g;
	query($node, qq{
		INSERT INTO webhook_configurations (organization_id, name, url, events, filter)
		SELECT 'evil', 'evil ' || i, '@{[$receiver->url('/ok?evil')]}', '{contact.*}', ('$filter')::jsonpath
		FROM generate_series(1, $count) i});
	return;
}

sub emit { my ($organization, $data) = @_; return "SELECT webhook_emit('contact.created', $data, '$organization');"; }

# What one tenant does in a transaction, and an event of another behind it, which must come though nothing of the former
# matches.
sub is_unharmed
{
	my ($sql, $name) = @_;
	my $unharmed = create_webhook($node, organization_id => 'acme', url => $receiver->url('/ok?unharmed'), events => ['contact.*'],
		filter => '$.id > 0');
	query($node, "BEGIN; $sql " . emit('acme', q('{"id":1}')) . ' COMMIT');
	eventually { successes($unharmed) == 1 } "$name: another tenant gets what its filter lets through";
	eventually { query($node, 'SELECT events_ahead FROM webhook_workers') == 0 } "$name: the worker gets through";
	query($node, 'DELETE FROM webhook_configurations');
	return;
}

# More questions than are answered at once. All of the tenant's events stand before the other's.
evil_webhooks(500, '$.id == -?');
my $matching = create_webhook($node, name => 'last', organization_id => 'evil', url => $receiver->url('/ok?matching'), events => ['contact.*'],
	filter => '$.id > 0');
my $other = create_webhook($node, name => 'other', organization_id => 'acme', url => $receiver->url('/ok?other'), events => ['contact.*'],
	filter => '$.id > 0');
query($node, 'BEGIN;' . emit('evil', q(json_build_object('id', i))) =~ s/;$/ FROM generate_series(1, 400) i;/r
	  . emit('acme', q('{"id":1}')) . 'COMMIT');
eventually { successes($matching) == 400 } 'a tenant with many filters and many events loses none that match';
is(successes($other), 1, 'another got its event');
my @in_order = sort { $a->{received_us} <=> $b->{received_us} } $receiver->received('/ok?matching');
cmp_ok(($receiver->received('/ok?other'))[0]{received_us}, '<', $in_order[-1]{received_us}, 'before the former had its last');
query($node, 'DELETE FROM webhook_configurations');

# What cannot be jsonb, beside filters that take a while, so that one batch is not enough for them.
evil_webhooks(2, '$.id > ?');
my @costly = map {
	create_webhook($node, organization_id => 'acme', url => $receiver->url("/ok?costly$_"), events => ['contact.*'],
		filter => "exists (\$.numbers[*] ? (@ + $_ > 1000)) || \$.id > 0")
} 1 .. 6;
query($node, 'BEGIN;' . join('',
	(emit('evil', q('{"id": 5, "text": "\u0000"}'), 'evil'), emit('evil', q('{"id": 5, "number": 1e200000}'), 'evil')) x 5,
	emit('acme', q(json_build_object('id', i, 'numbers', array(SELECT generate_series(1, 200))))) =~ s/;$/ FROM generate_series(1, 200) i;/r)
	  . 'COMMIT');
eventually { join(' ', map { successes($_) } @costly) eq join(' ', (200) x 6) }
'next to events that cannot be jsonb, none of another tenant is lost'
  or diag(join(' ', map { successes($_) } @costly));
eventually { query($node, 'SELECT events_ahead FROM webhook_workers') == 0 } 'and the worker gets through';
query($node, 'DELETE FROM webhook_configurations');

# Events that are large as text, as jsonb, or for the time that it takes to make jsonb of them: no filter sees them.
my $digits = q(format('{"id": 1, "a": %s, "b": %s}', repeat('7', 130000), repeat('3', 65000))::json);
my %beyond = (
	'long text' => q(json_build_object('id', 1, 'text', repeat('x', 1000000))),
	'many values' => q(json_build_object('id', 1, 'values', array(SELECT generate_series(1, 100000)))),
	'many keys' => q((SELECT json_object_agg('k' || i, i) FROM generate_series(1, 50000) i)),
	'long numbers' => $digits,
	'depth' => q(format('{"id": 1, "a": %s1%s}', repeat('[', 5000), repeat(']', 5000))::json));
foreach my $name (sort keys %beyond)
{
	evil_webhooks(200, '$.id == 1 || $.k1 == 1 || $.a % $.b > ?');
	is_unharmed(emit('evil', $beyond{$name}) x 10, $name);
}
is($receiver->count('/ok?evil'), 0, 'what no filter may see is no match');
cmp_ok(log_lines(qr/LOG:  .*data of organization "evil" is beyond what filters may see/), '>=', 1, 'and the log says so');

# What is large, and just within what they may see.
evil_webhooks(200, '$.id == -?');
is_unharmed(emit('evil', q(json_build_object('id', 1, 'text', repeat('x', 250000)))) x 10, 'text within the bound');
evil_webhooks(200, '$.id == -?');
is_unharmed(emit('evil', q(json_build_object('id', 1, 'values', array(SELECT generate_series(1, 9900))))) x 10, 'values within the bound');
($memory_kb) = slurp_file('/proc/' . query($node, 'SELECT pid FROM webhook_workers') . '/status') =~ /^VmHWM:\s+(\d+) kB/m;
cmp_ok($memory_kb, '<', 256 * 1024, 'none of it took the memory of the worker');
is(log_lines(qr/LOG:  .*the filters of organization "acme"/), 0, 'nobody says that the other tenant did anything wrong');

# --- Patterns -----------------------------------------------------------------------------------------------------------

my %pattern = ('contact.*' => 'contact', '*' => 'everything', 'deal.created' => 'name', 'webhook.*' => 'operational');
my %patterned = map { $_ => webhook_at("/ok?$pattern{$_}", events => [$_]) } keys %pattern;
query($node, q{
	INSERT INTO contacts (organization_id, name) VALUES ('acme', 'Ada');
	UPDATE contacts SET name = 'Bea';
	INSERT INTO deals (organization_id, title) VALUES ('acme', 'engine');
	INSERT INTO orders (id) VALUES (1000);
	INSERT INTO contacts (organization_id, name) VALUES ('other', 'Eve');
});
my $last = webhook_at('/ok?marker');
query($node, 'INSERT INTO orders (id) VALUES (1001)');
eventually { $receiver->count('/ok?everything') == 5 && $receiver->count('/ok?marker') == 1 } '* gets everything';
sub events { my ($path) = @_; return join(' ', map { $_->{event} } $receiver->bodies($path)); }
eventually { events('/ok?contact') eq 'contact.created contact.updated' } 'contact.* gets what begins so';
eventually { events('/ok?name') eq 'deal.created' } 'a name gets itself';
is($receiver->count('/ok?operational'), 0, 'and webhook.* none of them');
query($node, q{DELETE FROM webhook_configurations});

# --- Headers ------------------------------------------------------------------------------------------------------------

my $with_headers = webhook_at('/ok?headers', secret => 'a secret of some length',
	headers => JSON::PP::encode_json({ Authorization => 'Bearer abc', 'X-Tenant' => q(it's "quoted", \ and more) }));
query($node, 'INSERT INTO orders (id) VALUES (2000)');
eventually { successes($with_headers) == 1 } 'a webhook has headers of its own';
my %headers = %{ ($receiver->received('/ok?headers'))[0]{headers} };
is($headers{authorization}, 'Bearer abc', 'they are sent');
is($headers{'x-tenant'}, q(it's "quoted", \ and more), 'as they are');
like($headers{'webhook-signature'}, qr/^v1,/, 'beside those that are always sent');
query($node, q{DELETE FROM webhook_configurations});

# --- A rate limit -------------------------------------------------------------------------------------------------------

my $limited = webhook_at('/ok?limited', rate_limit_per_s => 5);
my $unlimited = webhook_at('/ok?unlimited');
query($node, 'INSERT INTO orders (id) SELECT generate_series(3001, 3020)');
eventually { successes($unlimited) == 20 } 'a webhook without a limit gets everything';
eventually { $receiver->count('/ok?limited') >= 1 } 'one with a limit, too';
eventually { successes($limited) == 20 } 'in the end';
my @at = sort { $a <=> $b } map { $_->{received_us} } $receiver->received('/ok?limited');
is(scalar @at, 20, 'once');
my $unlimited_last = max(map { $_->{received_us} } $receiver->received('/ok?unlimited'));
cmp_ok($unlimited_last, '<', $at[15], 'the one without limit had it all when the other had yet to get its last ones');
# It begins with a second's worth; the rest comes at the rate. So n requests take at least (n - 5) / 5 s, but for a request
# that was late itself, for which 0.3 s are allowed.
my @burst = map { my $n = $_; grep { ($at[ $_ + $n - 1 ] - $at[$_]) / 1e6 < ($n - 5 - 1) / 5 - 0.3 } 0 .. @at - $n } 6 .. 20;
is(scalar @burst, 0, 'never more than the rate allows after a burst of a second') or diag("@at");
cmp_ok(($at[19] - $at[0]) / 1e6, '>=', 2.7, 'so that 20 take three seconds');

is_log_clean($node);
$node->stop;

done_testing();
