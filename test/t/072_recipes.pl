# docs/recipes.md, followed step by step: each statement runs as it is written there, and does what the page says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $key_file = PostgreSQL::Test::Utils::tempdir() . '/keys';
append_to_file($key_file, 'old ' . encode_base64('o' x 32));
chmod(0600, $key_file);
my $node = new_node('webhook.retry_schedule' => '5s, 1h', 'webhook.secret_key_file' => $key_file);
query($node, q{
	CREATE TABLE deals (id bigint PRIMARY KEY, organization_id text NOT NULL, price numeric, updated_at timestamptz DEFAULT now());
	SELECT webhook_watch('deals', 'deal.created');
	SELECT webhook_watch('deals', 'deal.updated', 'UPDATE');
});
my $crm = create_webhook($node, name => 'crm', organization_id => 'acme', url => $receiver->url('/crm'), events => ['deal.*'],
	secret => 'a secret that is long enough');
my $other = create_webhook($node, organization_id => 'globex', url => $receiver->url('/ok?other'), events => ['deal.*']);

# The blocks of each recipe, by its heading, in their order.
my %recipes;
my @titles;
foreach my $section (split /^(?=## )/m, slurp_file("$FindBin::RealBin/../../docs/recipes.md"))
{
	my ($title) = $section =~ /^## (.*)/ or next;
	push @titles, $title;
	$recipes{$title} = [ $section =~ /^```sql\n(.*?)^```/msg ];
}

# Runs the next block of the recipe that is being followed. ALTER SYSTEM takes a transaction of its own.
my $recipe;
my $blocks = 0;

sub follow { ($recipe) = @_; ok(exists $recipes{$recipe}, "recipe: $recipe"); return; }

sub step
{
	my $block = shift @{ $recipes{$recipe} } // die "no more blocks in: $recipe";
	$blocks++;
	return query($node, $block);
}

# Again, until it answers so.
sub step_until
{
	my ($answer, $name) = @_;
	my $block = shift @{ $recipes{$recipe} };
	$blocks++;
	eventually { query($node, $block) eq $answer } $name;
	return;
}

my $id = 0;

sub insert_deals
{
	my ($organization, $count) = @_;
	query($node, "INSERT INTO deals SELECT n, '$organization', 1 FROM generate_series(" . ($id + 1) . ', ' . ($id + $count) . ') n');
	$id += $count;
	return;
}

sub arrived { return $receiver->count('/crm'); }

$receiver->set('/crm', '/ok');

# ----------------------------------------------------------------------------------------------------------------------

follow('An endpoint is down');
$receiver->set('/crm', '/status/503');
insert_deals('acme', 10);
eventually { query($node, "SELECT circuit FROM webhook_stats WHERE name = 'crm'") eq 'open' } 'its circuit opens';
like(step(), qr/^crm\|acme\|open\|\d{4}-.*\|10\|0\|HTTP status 503$/, 'it is seen, with what waits');
$receiver->set('/crm', '/ok');
is(step(), 'success|200|', 'the endpoint is tested');
eventually { query($node, q{SELECT count(DISTINCT event_id) FROM webhook_logs WHERE status = 'success' AND event_id > 0}) == 10 }
'what has waited is sent';
query($node, "UPDATE webhook_configurations SET is_active = false WHERE id = '$crm'");
insert_deals('acme', 2);
is(step() =~ s/\n/ /gr, '2 0', 'it is switched on again, and gets what it missed');
eventually { query($node, q{SELECT count(*) FROM webhook_logs WHERE status = 'success' AND event = 'deal.created'}) == 12 } 'that arrives';

# ----------------------------------------------------------------------------------------------------------------------

follow('Stop everything, now');
step();
step();
step_until('0', 'nothing is in flight');
my $before = arrived();
insert_deals('acme', 5);
is(query($node, 'SELECT is_paused FROM webhook_instance'), 't', 'the database is paused');
is(arrived(), $before, 'nothing is sent');
step();
eventually { arrived() == $before + 5 } 'afterwards what has waited is sent';

# ----------------------------------------------------------------------------------------------------------------------

follow('The disk fills');
my %sizes = map { split /\|/ } split /\n/, step();
is(join(', ', sort keys %sizes), 'events, events kept for deliveries, logs, pending and dead deliveries', 'what takes the space is seen');
step();
is(query($node, 'SHOW webhook.max_log_size'), '1GB', 'limits are lowered');
is(step(), '', 'nobody has read the tables for long');
step();
$before = query($node, 'SELECT count(*) FROM webhook_events');
insert_deals('acme', 1);
is(query($node, 'SELECT count(*) FROM webhook_events'), $before, 'no events are recorded');
step();
insert_deals('acme', 1);
is(query($node, 'SELECT count(*) FROM webhook_events'), $before + 1, 'until the settings are taken back');

# ----------------------------------------------------------------------------------------------------------------------

follow('Send yesterday again');
eventually { query($node, q{SELECT count(*) FROM webhook_logs WHERE status = 'success' AND event = 'deal.created'}) == 18 } 'all is sent';
query($node, q{UPDATE webhook_events SET created_at = date_trunc('day', now()) - interval '1 hour' + id * interval '1 microsecond'
	WHERE id <= (SELECT id FROM webhook_events ORDER BY id LIMIT 1 OFFSET 3)});
$before = arrived();
is(step() =~ s/\n/ /gr, '4 4', 'yesterday is counted, and sent again');
eventually { arrived() == $before + 4 } 'it arrives';
like(step(), qr/^\{"job" ?:.*\n(?:waiting|running|done)\|/, 'the worker is asked to do it');
eventually { arrived() == $before + 8 } 'it does';

# ----------------------------------------------------------------------------------------------------------------------

follow('A tenant floods');
insert_deals('acme', 200);
like(step(), qr/^acme\|2\d\d\|\d+ (?:bytes|kB)$/, 'who writes most is seen');
like(step(), qr/^deal\.created\|2\d\d\|2\d\d$/, 'and what');
step();
is(query($node, "SELECT rate_limit_per_s FROM webhook_configurations WHERE id = '$crm'"), '10', 'it is slowed down');
like(step(), qr/^crm\|\d+$/, 'what waits is given up');
query($node, "UPDATE webhook_configurations SET rate_limit_per_s = NULL WHERE id = '$crm'");
eventually { query($node, "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'") == 0 } 'nothing waits any more';

# ----------------------------------------------------------------------------------------------------------------------

follow('A secret has leaked');
my ($secret) = step() =~ /^crm\|(\S+)$/;
insert_deals('acme', 1);
eventually { grep { $_->{data}{id} == $id } $receiver->bodies('/crm') } 'a request comes';
my ($request) = grep { $_->{body} =~ /"id":$id\b/ } $receiver->received('/crm');
is(scalar(split / /, $request->{headers}{'webhook-signature'}), 1, 'it has one signature');
is(
	query($node,
		'SELECT webhook_verify('
		  . join(', ', map { sql_literal($_) } @{ $request->{headers} }{qw(webhook-id webhook-timestamp)}, $request->{body},
			$request->{headers}{'webhook-signature'}, $secret) . ')'),
	't', 'by the new secret');
unlink($key_file);
append_to_file($key_file, 'new ' . encode_base64('n' x 32) . 'old ' . encode_base64('o' x 32));
chmod(0600, $key_file);
like(step(), qr/^t\n[01]$/, 'secrets are encrypted anew');
step_until('new|1', 'by the new key');
like(step(), qr/^acme\|crm\|\S+$/, 'and rotated');

# ----------------------------------------------------------------------------------------------------------------------

follow('A deploy sent wrong events');
query($node, 'UPDATE deals SET price = 0 WHERE id = 1');
eventually { query($node, q{SELECT count(*) FROM webhook_logs WHERE event = 'deal.updated' AND status = 'success'}) == 1 } 'one is sent';
step();
query($node, 'UPDATE deals SET price = 0 WHERE id BETWEEN 2 AND 6');
insert_deals('acme', 1);
like(step(), qr/^acme\|crm\|1\|/m, 'who got it is seen');
$before = arrived();
step();
step_until('0', 'all events are read');
eventually { query($node, "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND event = 'deal.updated'") == 5 } 'and wait';
is(step(), '5', 'the wrong ones are given up');
insert_deals('acme', 1);
is(step() =~ s/\n/ /gr, '0 1', 'the webhooks are switched on, and get what they missed');
eventually { arrived() == $before + 2 } 'what was right arrives';
query($node, "UPDATE deals SET price = 9, updated_at = now() - interval '2 hours' WHERE id > 1");
step();
eventually { (grep { $_->{data}{id} == 1 && $_->{event} eq 'deal.updated' } $receiver->bodies('/crm')) == 2 } 'a correction is sent';

is(join(', ', grep { @{ $recipes{$_} } } @titles), '', 'each block of docs/recipes.md was followed');
is_log_clean($node, expected => [qr/WARNING: .*is kept beyond its retention or size/]);
$node->stop;

done_testing();
