# Receivers that answer anything but a response, and without an end: each attempt is logged for what it was, the worker
# stays small, and a healthy webhook gets every one of its events meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use HTTP::Tiny;
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash qw(query received_rows tally);

my $webhooks_each = 3;
my $events = 5;    # a circuit opens after five failures
my $timeout_ms = 2000;
my $grew_max_kb = 20 * 1024;
my $sent_min_bytes = 300_000_000;

my $healthy = start_receiver();
my $hostile = start_receiver(program => 'hostile.mjs');
my $hostile_tls = start_receiver(program => 'hostile.mjs', tls => 1);
my %bad_certificate = map { $_ => start_receiver(tls => 1, certificate => $_) } qw(expired wrong-host untrusted self-signed);

my $node = new_node(
	'webhook.retry_schedule' => '1h',
	'webhook.ca_file' => certificates_dir() . '/ca.crt');
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY);
	CREATE TABLE pings (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
	SELECT webhook_watch('pings', 'ping.created', organization_column => NULL);
});

# --- what comes, and what the log is to say of it ---------------------------------------------------------------------

my $closed = 'the connection was closed';
my %outcome_of = (
	'endless-body' => 'success 200',
);
my %outcome_of_url = (map({ ($hostile->url("/$_") => $outcome_of{$_}) } keys %outcome_of));

ok(1);
foreach my $m (qw(endless-body endless-chunks endless-chunk-extension endless-trailers endless-headers endless-header-line
 endless-status-line endless-1xx byte-a-second byte-a-second-of-headers byte-a-second-of-1xx bomb bomb-of-bombs bomb-in-transfer nul nul-in-header raw-bytes-in-header
 length-too-long length-too-short length-negative length-beyond-numbers length-twice length-and-chunks chunk-of-no-number chunk-beyond-numbers no-http close-before-response close-in-headers reset))
{
  create_webhook($node, organization_id => undef, name => $m, url => $hostile->url("/$m"), events => ['item.created'], timeout_ms => $timeout_ms);
}
create_webhook($node, organization_id => undef, name => $_, url => $hostile_tls->url("/$_"), events => ['item.created'], timeout_ms => $timeout_ms) foreach qw(renegotiate-forever renegotiate-once);
create_webhook($node, organization_id => undef, name => $_, url => $bad_certificate{$_}->url("/ok"), events => ['item.created'], timeout_ms => $timeout_ms) foreach keys %bad_certificate;
query($node, 'INSERT INTO items DEFAULT VALUES');
my $n = query($node, 'select count(*) from webhook_configurations');
eventually { query($node, 'select count(*) from webhook_logs') == $n } 'all' , 30;
diag(query($node, q{select concat_ws(' | ', name, status, response_status, error, length(response_body), left(response_body, 10), duration_ms::int) from webhook_logs l right join webhook_configurations c on c.id = configuration_id order by c.created_at}));
diag(HTTP::Tiny->new->get("http://127.0.0.1:$hostile->{control_port}/sent")->{content});
diag(slurp_file("/proc/" . query($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook worker'}) . "/status") =~ /(RssAnon.*)/);
is_log_clean($node);
$node->stop;

done_testing();
