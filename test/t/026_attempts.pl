# What the log tells of an attempt after its webhook was changed: the version that it was made with, and so its URL and
# the names of its headers; and the headers of the response. A row of a success hardly grows by it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;
use WebhookTest;

my $receiver = start_receiver();
my $node = new_node('webhook.retry_schedule' => '1h');

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

my $fails = '/status/500/header/X-Reason/overload/header/Set-Cookie/id%3D7/header/X-Key/k1';
my $webhook = create_webhook($node, url => $receiver->url("$fails?first"), events => ['contact.created'], secret => 'a long secret',
	headers => '{"X-Key": "k1"}', organization_id => undef);

# The log row of the webhook's attempt with this number, once it is there.
sub attempted
{
	my ($count) = @_;
	eventually { sql('SELECT count(*) FROM webhook_logs') == $count } "attempt $count is logged";
	return sql('SELECT max(id) FROM webhook_logs');
}

sub told { my ($id, $path) = @_; return sql("SELECT webhook_api.attempt($id) #>> '$path'"); }
sub emit { return sql("SELECT webhook_emit('contact.created', '{}', organization_id => NULL)"); }

# --- an attempt before and one after an edit --------------------------------------------------------------------------

emit();
my $first = attempted(1);
is(told($first, '{changed_since}'), 'false', 'at first nothing has been changed');
sql("UPDATE webhook_configurations SET url = '" . $receiver->url("$fails?second") . q{', headers = '{"X-Other": "o"}'});
emit();
my $second = attempted(2);

my %expected = ($first => [ 1, 'first', 'true', 'X-Key' ], $second => [ 2, 'second', 'false', 'X-Other' ]);
foreach my $id ($first, $second)
{
	my ($version, $query, $changed, $header) = @{ $expected{$id} };
	is(told($id, '{attempt,configuration_version}'), $version, "the attempt has version $version");
	is(told($id, '{request,version}'), $version, 'and so has its request');
	is(told($id, '{request,url}'), $receiver->url("$fails?$query"), 'with the URL that it was made with');
	is($receiver->count("$fails?$query"), 1, 'which got one request');
	is(sql("SELECT string_agg(k, ' ') FROM json_object_keys(webhook_api.attempt($id) #> '{request,headers}') k WHERE k IN ('X-Key', 'X-Other')"),
		$header, 'and the names of its headers');
	is(told($id, '{changed_since}'), $changed, 'and it is told whether the webhook was changed since');
}
sql('SELECT webhook_rotate_secret(id) FROM webhook_configurations');
is(told($second, '{request,headers,webhook-signature}'), '***', 'a signature with an earlier secret is not made up');
is(sql('SELECT array_agg(version ORDER BY id) FROM webhook_history'), '{1,2,3}', 'each change has its version');

# --- the headers of responses -----------------------------------------------------------------------------------------

like(told($first, '{attempt,response_headers}'), qr/^X-Reason: overload$/m, 'a failed attempt has the headers of its response');
like(told($first, '{attempt,response_headers}'), qr/^Set-Cookie: \*\*\*$/mi, 'without the value of a cookie');
like(told($first, '{attempt,response_headers}'), qr/^X-Key: \*\*\*$/mi, 'and without that of a header of the request');
unlike(told($first, '{attempt,response_headers}'), qr/HTTP/, 'and without the status line');

sql("UPDATE webhook_configurations SET url = '" . $receiver->url('/ok/header/X-Reason/none') . "'");
emit();
my $third = attempted(3);
is(sql("SELECT status, configuration_version, response_headers IS NULL FROM webhook_logs WHERE id = $third"), 'success|4|t', 'a success has none');
my $test = sql('SELECT t.log_id FROM webhook_configurations c, webhook_test(c.id) t');
is(sql("SELECT status, configuration_version FROM webhook_logs WHERE id = $test"), 'success|4', 'a test has a version');
like(told($test, '{attempt,response_headers}'), qr/^X-Reason: none$/m, 'and headers');

# --- the size of a row ------------------------------------------------------------------------------------------------

my $columns = sql(q{SELECT string_agg('l.' || attname, ', ' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'webhook_logs'::regclass AND attnum > 0 AND attname NOT IN ('configuration_version', 'response_headers')});
my ($with, $without) = split /\|/, sql("SELECT pg_column_size(l), pg_column_size(s) FROM webhook_logs l, LATERAL (SELECT $columns) s WHERE l.id = $third");
cmp_ok($with, '>', 100, 'the row of a success');
cmp_ok($with, '<=', 1.1 * $without, 'is at most a tenth larger than it was without version and headers');
note("$with bytes, $without without them");

is_log_clean($node);
done_testing();
