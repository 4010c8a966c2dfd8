# A webhook gets what was captured while it was active, however often it is switched before the transaction commits, and
# whatever the clock says.

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
my $node = new_node(max_prepared_transactions => 20);
query($node, q{
	CREATE TABLE items (id bigint PRIMARY KEY, organization_id text);
	SELECT webhook_watch('items', 'item.created');
});

sub webhook_of
{
	my ($organization, %columns) = @_;
	return create_webhook($node, organization_id => $organization, name => $organization,
		url => $receiver->url("/ok?$organization"), events => ['item.created'], %columns);
}
sub received { return join(' ', sort { $a <=> $b } map { $_->[1] } received_rows($receiver, "/ok?$_[0]")); }
sub insert { return "INSERT INTO items VALUES ($_[1], '$_[0]')"; }
sub switch
{
	my ($organization, @states) = @_;
	foreach my $state (@states)
	{
		query($node, "UPDATE webhook_configurations SET is_active = '$state' WHERE name = '$organization'");
	}
	return;
}

# What comes later of a webhook that gets everything says that the worker has come so far.
webhook_of('marker');
my $marked = 1000;
sub pass_by
{
	my $id = ++$marked;
	query($node, insert('marker', $id));
	eventually { received('marker') =~ /\b$id$/ } 'an event of another webhook passes by';
	return;
}

# --- Switched while a transaction is open ---------------------------------------------------------------------------------

# Each case: whether the webhook is active at first, what happens in turn (a number is an event of the open transaction, on and
# off are switches, other words statements of that transaction), and what is to arrive once the webhook is on.
my @cases = (
	[ 'was off, and on twice since', 0, [ 1, 'on', 'off', 'on' ], '' ],
	[ 'was on, and off twice since', 1, [ 1, 'off', 'on', 'off' ], '1' ],
	[ 'in each interval', 1, [ 1, 'off', 2, 'on', 3, 'off', 4, 'on', 5, 'off', 6 ], '1 3 5' ],
	[ 'in each interval, off at first', 0, [ 1, 'on', 2, 'off', 3, 'on', 4, 'off', 5 ], '2 4' ],
	[ 'in subtransactions', 1,
		[ 'SAVEPOINT a', 1, 'off', 2, 'SAVEPOINT b', 3, 'on', 4, 'RELEASE b', 'off', 5, 'SAVEPOINT c', 6, 'ROLLBACK TO c', 'on', 7 ],
		'1 4 7' ],
	[ 'edited otherwise in between', 1, [ 1, 'off', 2, 'edit', 3, 'on', 'edit', 4, 'off', 'edit', 5 ], '1 4' ],
	[ 'by so many events that they are written at once', 1, [ 'many 1', 'off', 'many 2001', 'on', 'off' ], join(' ', 1 .. 2000) ],
);
my %sessions;
my $base = 10_000;
my %base;
foreach my $end (qw(COMMIT PREPARE))
{
	for my $i (0 .. $#cases)
	{
		my ($name, $is_on, $steps) = @{ $cases[$i] };
		my $organization = "$end-$i";
		$base{$organization} = $base;
		webhook_of($organization, is_active => $is_on ? 'true' : 'false');
		my $session = $sessions{$organization} = WebhookTest::Session->new($node, 'postgres');
		$session->query('BEGIN');
		foreach my $step (@$steps)
		{
			if ($step =~ /^\d+$/) { $session->query(insert($organization, $base + $step)); }
			elsif ($step =~ /^many (\d+)/)
			{
				$session->query("INSERT INTO items SELECT n + $base + $1, '$organization' FROM generate_series(0, 1999) n");
			}
			elsif ($step eq 'edit')
			{
				query($node, "UPDATE webhook_configurations SET timeout_ms = timeout_ms + 1 WHERE name = '$organization'");
			}
			elsif ($step =~ /^(?:on|off)$/) { switch($organization, $step); }
			else { $session->query($step); }
		}
		$session->query("PREPARE TRANSACTION '$organization'") if $end eq 'PREPARE';
		$base += 10_000;
	}
}
foreach my $organization (sort keys %sessions)
{
	my $is_prepared = $organization =~ /^PREPARE/;
	$is_prepared ? query($node, "COMMIT PREPARED '$organization'") : $sessions{$organization}->query('COMMIT');
}
pass_by();
switch($_, 'on') foreach sort keys %sessions;
foreach my $organization (sort keys %sessions)
{
	my $case = $cases[ ($organization =~ /(\d+)/)[0] ];
	my $expected = join(' ', map { $_ + $base{$organization} } split ' ', $case->[3]);
	eventually { received($organization) eq $expected } "$case->[0], $organization" or diag(received($organization));
}

# --- Switched by a transaction that is still open -------------------------------------------------------------------------

# A session that looks for the first time sees what is committed; so does one that has looked before.
my $before = WebhookTest::Session->new($node, 'postgres');
foreach my $end (qw(COMMIT ROLLBACK))
{
	foreach my $is_on (0, 1)
	{
		my $organization = "open-$end-$is_on";
		webhook_of($organization, is_active => $is_on ? 'true' : 'false');
		$before->query(insert($organization, $base + 1));
		my $switching = WebhookTest::Session->new($node, 'postgres');
		$switching->query('BEGIN');
		$switching->query("UPDATE webhook_configurations SET is_active = NOT is_active WHERE name = '$organization'");
		$before->query(insert($organization, $base + 2));
		query($node, insert($organization, $base + 3));
		$switching->query(insert($organization, $base + 4));
		$switching->query($end);
		query($node, insert($organization, $base + 5));
		pass_by();
		switch($organization, 'on');
		my $ends_on = $end eq 'COMMIT' ? !$is_on : $is_on;
		# A webhook's own switch decides for the events of its transaction; a rollback takes these with it.
		my @expected = (($is_on ? (1, 2, 3) : ()), ($end eq 'COMMIT' && !$is_on ? 4 : ()), ($ends_on ? 5 : ()));
		my $expected = join(' ', map { $base + $_ } @expected);
		eventually { received($organization) eq $expected } "what others commit meanwhile goes by what they see: $organization"
		  or diag(received($organization));
		$base += 10_000;
	}
}

# --- Visible, but not announced yet ---------------------------------------------------------------------------------------

# A commit shows what it has done to others before it announces that webhooks have changed; a busy machine may let it stand
# still in between. The worker then reads an event of that transaction, and must know of what came with it.
SKIP:
{
	my $module = $ENV{WEBHOOK_BOUNDARY_MODULE};
	skip 'WEBHOOK_BOUNDARY_MODULE does not name the module', 6 unless $module;
	query($node, "CREATE FUNCTION stand_still_in_commits(integer) RETURNS void LANGUAGE C AS '$module'");
	my %changes = (
		created => undef,
		switched => q{UPDATE webhook_configurations SET is_active = true WHERE name = 'switched'},
		subscribed => q{UPDATE webhook_configurations SET events = '{item.created}' WHERE name = 'subscribed'});
	webhook_of('switched', is_active => 'false');
	webhook_of('subscribed', events => ['contact.created']);
	foreach my $change (sort keys %changes)
	{
		pass_by();
		my $id = $base + 1;
		my $sql = $changes{$change} // qq{INSERT INTO webhook_configurations (organization_id, name, url, events)
			VALUES ('$change', '$change', '@{[$receiver->url("/ok?$change")]}', '{item.created}')};
		my $session = start_session($node,
			"SELECT stand_still_in_commits(1500); BEGIN; $sql; @{[insert($change, $id)]}; COMMIT;");
		wait_until { query($node, "SELECT count(*) FROM items WHERE id = $id") == 1 } 'the change is visible';
		pass_by();
		$session->finish;
		eventually { received($change) eq $id } "an event that is committed with a webhook that is $change arrives";
		$base += 10_000;
	}
}

# --- More often than is remembered ----------------------------------------------------------------------------------------

foreach my $is_on (0, 1)
{
	my $organization = "often-$is_on";
	webhook_of($organization, is_active => $is_on ? 'true' : 'false');
	my $session = WebhookTest::Session->new($node, 'postgres');
	$session->query('BEGIN');
	$session->query(insert($organization, $base + 1));
	switch($organization, $is_on ? ('off', 'on') x 75 : ('on', 'off') x 75);
	$session->query(insert($organization, $base + 2));
	$session->query('COMMIT');
	is(query($node, "SELECT cardinality(switches) <= 101 FROM webhook_configurations WHERE name = '$organization'"), 't',
		'a hundred switches are remembered');
	pass_by();
	switch($organization, 'on');
	my $expected = $is_on ? join(' ', $base + 1, $base + 2) : '';
	eventually { received($organization) eq $expected } 'what came before them still finds its webhook as it was'
	  or diag(received($organization));
	$base += 10_000;
}

# Off, and on again, while a transaction is open: what came before is delivered.
sub is_switched_like_any_other
{
	my ($organization) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $session = WebhookTest::Session->new($node, 'postgres');
	$session->query('BEGIN');
	$session->query(insert($organization, $base + 2));
	switch($organization, 'off');
	$session->query(insert($organization, $base + 3));
	$session->query('COMMIT');
	pass_by();
	switch($organization, 'on');
	return eventually { received($organization) eq join(' ', $base + 1, $base + 2) } "and is switched like any other: $organization";
}

# --- Clocks ---------------------------------------------------------------------------------------------------------------

# As after a clock that was an hour ahead, and is set right: what the webhook bears lies in the future.
my $ahead = query($node, q{SELECT now() + interval '1 hour'});
webhook_of('ahead', created_at => $ahead, active_since => $ahead);
query($node, insert('ahead', $base + 1));
eventually { received('ahead') eq $base + 1 } 'a webhook whose times lie in the future gets its events';
is_switched_like_any_other('ahead');
$base += 10_000;

# --- Numbers of another database ------------------------------------------------------------------------------------------

query($node, q{ALTER TABLE webhook_configurations DISABLE TRIGGER USER});
query($node, qq{INSERT INTO webhook_configurations (organization_id, name, url, events, is_active, active_since, switches)
	VALUES ('alien', 'alien', '} . $receiver->url('/ok?alien') . q{', '{item.created}', true, now(), '{5000000,5000007}')});
query($node, q{ALTER TABLE webhook_configurations ENABLE TRIGGER USER});
query($node, q{SELECT webhook_pause('test')});
query($node, insert('alien', $base + 1));
is(query($node, q{SELECT matched, reason, outcome FROM webhook_events e, webhook_explain(e.id) WHERE e.organization_id = 'alien'}),
	't||waiting', 'of an event that a webhook will get which was restored without triggers, webhook_explain() says that it waits');
query($node, 'SELECT webhook_resume()');
eventually { received('alien') eq $base + 1 } 'and it gets it';
is_switched_like_any_other('alien');

is_log_clean($node);
$node->stop;

done_testing();
