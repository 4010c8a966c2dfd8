# Transactions that stay open through a full load, and prepared ones that others finish, also after a crash: what
# committed beside them is delivered meanwhile, what they wrote after their commit, once, and never if they roll back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;
use WebhookTest;
use WebhookTest::Crash;
use WebhookTest::Session;

my ($session_count, $transaction_count, $rows_each, $webhook_count) = (4, 1000, 10, 5);
my $in_flight_max = 32;
my $batch_max = 256;    # results that the worker records at once

my $receiver = start_receiver();
my $node = new_node('max_prepared_transactions' => 10, 'webhook.max_in_flight' => $in_flight_max);
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
});
create_webhook($node, url => $receiver->url("/ok?w=$_"), events => ['item.*'], organization_id => "o$_")
  foreach 0 .. $webhook_count - 1;

# Rows $first to $first + $count - 1, by turns for each webhook.
sub insert_of
{
	my ($first, $count) = @_;
	return "INSERT INTO items SELECT i, 'o' || i % $webhook_count FROM generate_series($first, $first + $count - 1) AS i;\n";
}

# Sessions that insert from $first on, $rows_each a transaction. Returns how many rows that will be, then the sessions.
sub start_load
{
	my ($first) = @_;
	my @sessions;
	foreach my $n (0 .. $session_count - 1)
	{
		my $begin = $first + $n * $transaction_count * $rows_each;
		push @sessions, start_session($node, join('',
			map { insert_of($begin + $_ * $rows_each, $rows_each) } 0 .. $transaction_count - 1));
	}
	return ($session_count * $transaction_count * $rows_each, @sessions);
}

# How often each row has arrived, of ids from $first to $last.
sub arrivals
{
	my ($first, $last) = @_;
	return tally(grep { $_ >= $first && $_ <= $last } map { $_->[1] } received_rows($receiver));
}

# What is wrong with the arrivals of rows $first to $last, as text: empty if each that committed came once, and no other.
sub not_once
{
	my ($first, $last) = @_;
	my @committed = split /\n/, query($node, "SELECT id FROM items WHERE id BETWEEN $first AND $last");
	my $arrivals = arrivals($first, $last);
	my @repeated = grep { $arrivals->{$_} > 1 } sort { $a <=> $b } keys %$arrivals;
	my %found = (
		missing => missing(\@committed, [ keys %$arrivals ]),
		'not committed' => missing([ keys %$arrivals ], \@committed),
		repeated => join(' ', splice(@repeated, 0, 10)));
	return join('; ', map { "$_: $found{$_}" } grep { $found{$_} ne '' } sort keys %found);
}

sub successes { return query($node, q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}); }

# Waits until all that has committed is logged as delivered.
sub all_is_delivered
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $committed = query($node, 'SELECT count(*) FROM items');
	return eventually { successes() >= $committed } $what;
}

# --- a writer that is open throughout and commits last ----------------------------------------------------------------

my ($writer_first, $writer_rows) = (1_000_000, 3_000);
my $others = 'SELECT count(*) FROM items';    # which sees no row of an open transaction
{
	my $writer = WebhookTest::Session->new($node, 'postgres');
	$writer->query('BEGIN; ' . insert_of($writer_first, 1000) . 'SELECT webhook_flush()');
	my ($load, @sessions) = start_load(1);
	wait_until { $receiver->count > $load / 10 } 'the load is under way';
	$writer->query(insert_of($writer_first + 1000, 1000) . 'SELECT webhook_flush()');
	$writer->query('SAVEPOINT s; ' . insert_of($writer_first + 500_000, 500) . 'SELECT webhook_flush(); ROLLBACK TO s');
	my $pid = query($node, 'SELECT pid FROM webhook_workers');
	query($node, "SELECT pg_terminate_backend($pid)");
	eventually { query($node, "SELECT count(*) FROM webhook_workers WHERE pid <> $pid") == 1 } 'another worker';
	is(scalar(grep { $_->finish } @sessions), $session_count, 'the other sessions come to their end');
	is(query($node, $others), $load, "their $load rows have committed");
	all_is_delivered('all of them is delivered while the writer is open');
	is(not_once(1, $load), '', 'each once');
	is(query($node, q{SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'}), 1, 'it is open still');
	is(scalar(keys %{ arrivals($writer_first, $writer_first + 999_999) }), 0, 'and nothing of it has been sent');

	$writer->query(insert_of($writer_first + 2000, 1000) . 'COMMIT');
	is($writer->errors, '', 'it commits');
	$writer->finish;
	all_is_delivered('after its commit, what it wrote is delivered');
	is(not_once($writer_first, $writer_first + 999_999), '', 'all that it kept, once');
	is(scalar(keys %{ arrivals($writer_first, $writer_first + 999_999) }), $writer_rows, "which is $writer_rows rows");
	is($receiver->count, $load + $writer_rows, 'and nothing else');
}

# --- prepared transactions, finished by other sessions ----------------------------------------------------------------

# By how they end, and whether a crash lies between that and PREPARE.
my %prepared = (
	commit_at_once => 2_000_000,
	rollback_at_once => 2_100_000,
	commit_after_crash => 2_200_000,
	rollback_after_crash => 2_300_000,
	commit_unseen => 2_400_000);
my $prepared_rows = 500;

sub prepared_arrivals { return scalar(keys %{ arrivals($prepared{ $_[0] }, $prepared{ $_[0] } + 99_999) }); }

sub is_delivered_once
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	all_is_delivered("$name: what it wrote is delivered");
	is(not_once($prepared{$name}, $prepared{$name} + 99_999), '', "$name: once");
	is(prepared_arrivals($name), $prepared_rows, "$name: all of it");
	return;
}

foreach my $name (sort keys %prepared)
{
	ok(start_session($node, 'BEGIN; ' . insert_of($prepared{$name}, $prepared_rows) . "PREPARE TRANSACTION '$name';")->finish,
		"$name: prepared by a session that ends");
}
my $load_first = 3_000_000;
my ($load, @sessions) = start_load($load_first);
my $count_before = $receiver->count;
wait_until { $receiver->count > $count_before + $load / 10 } 'the load is under way';
query($node, q{COMMIT PREPARED 'commit_at_once'});
query($node, q{ROLLBACK PREPARED 'rollback_at_once'});
is(scalar(grep { $_->finish } @sessions), $session_count, 'the sessions of a load come to their end meanwhile');
is_delivered_once('commit_at_once');
is(not_once($load_first, $load_first + $load - 1), '', 'and the load, once');

$load_first = 4_000_000;
(undef, @sessions) = start_load($load_first);
$count_before = $receiver->count;
wait_until { $receiver->count > $count_before } 'another load is under way';
crash_server($node);
is(scalar(grep { $_->finish } @sessions), 0, 'the server stops in the middle of it');
is(query($node, 'SELECT count(*) FROM pg_prepared_xacts'), 3, 'three transactions are prepared still');
all_is_delivered('what had committed is delivered');
is(prepared_arrivals($_), 0, "$_: nothing of it has been sent") foreach grep { /_after_|_unseen/ } sort keys %prepared;
query($node, q{COMMIT PREPARED 'commit_after_crash'});
query($node, q{ROLLBACK PREPARED 'rollback_after_crash'});
is_delivered_once('commit_after_crash');

query($node, insert_of(5_000_000, 100));
all_is_delivered('others are delivered before the next crash');
is(prepared_arrivals('commit_unseen'), 0, 'the last one is prepared still');
# It commits before a worker has looked: only the checkpoint knows that it was open.
$node->append_conf('postgresql.conf', 'webhook.enabled = off');
crash_server($node);
query($node, q{COMMIT PREPARED 'commit_unseen'});
$node->append_conf('postgresql.conf', 'webhook.enabled = on');
$node->reload;
is_delivered_once('commit_unseen');
is(prepared_arrivals($_), 0, "$_: nothing of it has ever been sent") foreach grep { /^rollback/ } sort keys %prepared;

# --- what arrived, against what committed -----------------------------------------------------------------------------

my @rows = received_rows($receiver);
my @received = map { $_->[1] } @rows;
my @committed = split /\n/, query($node, 'SELECT id FROM items');
is(missing(\@committed, \@received), '', 'in all, every committed row has arrived');
is(missing(\@received, \@committed), '', 'and no other');
is(scalar(keys %{ tally(map { "@$_" } @rows) }), @committed, 'repeats bear the same webhook-id');
my $repeats_max = 2 * $in_flight_max + $batch_max;
cmp_ok(@rows - @committed, '<=', $repeats_max, "the crash under load repeated no more than $repeats_max");
note(@rows - @committed, ' were repeated');
is(query($node, q{SELECT count(*), count(DISTINCT event_id) FROM webhook_logs WHERE status = 'success'}),
	join('|', (scalar @committed) x 2), 'each success is logged once');
is(query($node, 'SELECT count(*) FROM webhook_deliveries'), 0, 'and nothing is pending');
is_log_clean($node, expected => [
	crash_lines(),
	qr/FATAL:  terminating background worker "webhook worker"/ ]);
$node->stop;

done_testing();
