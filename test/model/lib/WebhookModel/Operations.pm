# What is done to the world, by chance: each operation is a function of the world and of random numbers of its own.
package WebhookModel::Operations;

use strict;
use warnings;

use Time::HiRes qw(sleep time);
use WebhookTest qw(sql_literal wait_until);

# How often each comes among the others. What restarts the server takes longest.
my @weights = (
	30 => 'write',
	25 => 'transact',
	5 => 'burst',
	1 => 'flood',
	3 => 'prepared',
	3 => 'create_webhook',
	1 => 'create_and_replay',
	5 => 'edit',
	6 => 'toggle',
	2 => 'delete_webhook',
	5 => 'order',
	2 => 'rotate',
	4 => 'replay',
	8 => 'redeliver',
	2 => 'cancel',
	3 => 'hold',
	10 => 'flap',
	1 => 'restart_receiver',
	2 => 'terminate_worker',
	1 => 'terminate_session',
	1 => 'kill_worker',
	1 => 'stop',
	2 => 'set_workers',
	2 => 'turn_rings',
	1 => 'pause',
	1 => 'disable',
	8 => 'linger');

# Those that cost a second or more; a bounded number in an episode, or little else would be done.
my %is_costly = map { $_ => 1 } qw(flood kill_worker stop restart_receiver set_workers);
my $costly_max = 2;
my $bursts_max = 3;    # at once

# Some operations of an episode, drawn from its name.
sub run_episode
{
	my ($world, $episode, $count) = @_;
	my $costly = 0;
	# What happens to one webhook within moments finds more than what happens to many.
	$world->{focus} = WebhookModel::Random->new("$world->{seed}/$episode")->pick($world->live_webhooks);
	foreach my $n (1 .. $count)
	{
		my $random = WebhookModel::Random->new("$world->{seed}/$episode/$n");
		my $name = $random->weighted(@weights);
		next if $is_costly{$name} && ++$costly > $costly_max;
		$world->trace("$episode.$n $name");
		__PACKAGE__->can($name)->($world, $random);
	}
	return;
}

# The webhooks that a round begins with: each ordering in each organization.
sub begin
{
	my ($world, $random) = @_;
	foreach my $organization (@WebhookModel::World::organizations)
	{
		insert_webhook($world, $random, $organization, $_) foreach @WebhookModel::World::orderings;
	}
	return;
}

# --- Items --------------------------------------------------------------------------------------------------------------

# A statement, or two, that changes items of an organization, and the ids of the items that it locks.
sub item_statements
{
	my ($world, $random, $client, $transaction) = @_;
	my $organization = $random->pick(@WebhookModel::World::organizations);
	my $count = $random->weighted(6 => 1, 3 => $random->between(2, 5), 1 => $random->between(6, 60));
	my $n = $random->below(10);
	my $filler = $random->weighted(
		60 => "'x'", 5 => "repeat('long ', 2000)",
		1 => "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 28000) i)");
	my @free = $world->free_items($client, $transaction, $organization);
	my $kind = @free < 3 ? 'insert' : $random->weighted(2 => 'insert', 8 => 'update', 1 => 'delete', 1 => 'several');
	if ($kind eq 'insert')
	{
		$count = 8 if $count > 8;    # few items with many changes
		my ($item, $change) = ($world->new_items($count), $world->new_change_numbers($count));
		return ("INSERT INTO items SELECT $item + i, '$organization', $change + i, $n, $filler FROM generate_series(0, $count - 1) i",
			$item .. $item + $count - 1);
	}
	my @items = $random->some($count, @free);
	my $list = join(',', @items);
	my $update = sub {
		my $change = $world->new_change_numbers(scalar @items) - 1;
		return "UPDATE items SET change = $change + array_position('{$list}', id), n = $n, filler = $filler WHERE id = ANY ('{$list}')";
	};
	return ($update->(), @items) if $kind eq 'update';
	# The same rows several times within a statement's transaction.
	return (join(";\n", map { $update->() } 1 .. 3), @items) if $kind eq 'several';
	return ("DELETE FROM items WHERE id = ANY ('{$list}')", @items);
}

sub write
{
	my ($world, $random) = @_;
	my $client = $world->{slots}[ $random->below(4) ];
	$client = $client->{transaction} ? $world->{admin} : $client->{client};
	my ($statements) = item_statements($world, $random, $client, undef);
	# Several statements are one transaction only if they say so.
	$statements = "BEGIN;\n$statements;\nCOMMIT" if $statements =~ /;/;
	$world->change($client, undef, $statements);
	return;
}

# One step of a transaction in one of the sessions.
sub transact
{
	my ($world, $random) = @_;
	my $slot = $random->pick(@{ $world->{slots} });
	my $client = $slot->{client};
	$world->end_lost_transactions unless $client->is_connected;
	if (!$slot->{transaction})
	{
		my $level = $random->weighted(4 => 'READ COMMITTED', 1 => 'REPEATABLE READ');
		return if $client->run("BEGIN ISOLATION LEVEL $level")->{is_lost};
		# A snapshot of then would make updates of what others change meanwhile fail: it inserts only.
		$slot->{transaction} = { %{ $world->new_transaction }, only_inserts => $level ne 'READ COMMITTED' };
	}
	my $transaction = $slot->{transaction};
	my $step = $random->weighted(
		12 => 'change', 3 => 'savepoint', 3 => 'rollback_to', 2 => 'release', 1 => 'flush', 5 => 'commit', 2 => 'rollback', 2 => 'prepare');
	$world->trace("  $client->{name} $step");
	my $savepoints = $transaction->{savepoints};
	# Its events take their places when it writes them: when it commits, unless one of these comes first.
	$transaction->{written_from} //= time() if $step =~ /^(?:release|flush|prepare)$/;
	if ($step eq 'change')
	{
		my ($statements, @items) = $transaction->{only_inserts} ? insert_statement($world, $random)
		  : item_statements($world, $random, $client, $transaction);
		$transaction->{items}{$_} = 1 foreach @items;
		$world->change($client, $transaction, $statements);
	}
	elsif ($step eq 'savepoint')
	{
		push @$savepoints, 's' . @$savepoints;
		$client->run("SAVEPOINT $savepoints->[-1]");
	}
	elsif ($step eq 'rollback_to') { $client->run("ROLLBACK TO $savepoints->[-1]") if @$savepoints; }
	elsif ($step eq 'release') { $client->run('RELEASE ' . pop @$savepoints) if @$savepoints; }
	elsif ($step eq 'flush') { $client->run('SELECT webhook_flush()'); }
	elsif ($step eq 'prepare') { prepare($world, $slot); }
	else { end_transaction($world, $slot, $step); }
	return;
}

sub insert_statement
{
	my ($world, $random) = @_;
	my ($item, $change, $n) = ($world->new_items(1), $world->new_change_numbers(1), $random->below(10));
	my $organization = $random->pick(@WebhookModel::World::organizations);
	return ("INSERT INTO items VALUES ($item, '$organization', $change, $n, 'x')", $item);
}

sub end_transaction
{
	my ($world, $slot, $how) = @_;
	my $transaction = delete $slot->{transaction};
	my $answer = $slot->{client}->run($how eq 'commit' ? 'COMMIT' : 'ROLLBACK');
	$world->commit_known($transaction, $answer) if $how eq 'commit';
	return;
}

sub prepare
{
	my ($world, $slot) = @_;
	return if @{ $world->{prepared} } >= 4;
	my $transaction = $slot->{transaction};
	$transaction->{gid} = "t$transaction->{number}";
	my $answer = $slot->{client}->run("PREPARE TRANSACTION '$transaction->{gid}'");
	return if $answer->{is_lost};    # end_lost_transactions() sees to it
	push @{ $world->{prepared} }, delete $slot->{transaction};
	return;
}

sub prepared
{
	my ($world, $random) = @_;
	my $transaction = $random->pick(@{ $world->{prepared} }) or return;
	end_prepared($world, $transaction, $random->chance(70) ? 'COMMIT' : 'ROLLBACK');
	return;
}

sub end_prepared
{
	my ($world, $transaction, $how) = @_;
	@{ $world->{prepared} } = grep { $_ != $transaction } @{ $world->{prepared} };
	my $answer = $world->{admin}->run("$how PREPARED '$transaction->{gid}'");
	$world->commit_known($transaction, $answer) if $how eq 'COMMIT';
	return;
}

# Many transactions in a session of their own, beside everything else.
sub burst
{
	my ($world, $random) = @_;
	end_burst($world, shift @{ $world->{bursts} }) if @{ $world->{bursts} } >= $bursts_max;
	my $number = ++$world->{statement_count};
	my $organization = $random->pick(@WebhookModel::World::organizations);
	my @script = ("SET model.statement = $number");
	my $first = 1_000_000 * $number;    # items that nobody else touches
	my $insert = sub {
		my ($item) = @_;
		my ($change, $n) = ($world->new_change_numbers(1), $random->below(10));
		return "INSERT INTO items VALUES ($item, '$organization', $change, $n, 'burst')";
	};
	my $update = sub {
		my ($item) = @_;
		return 'UPDATE items SET change = ' . $world->new_change_numbers(1) . " WHERE id = $item";
	};
	push @script, $insert->($first + $_) foreach 1 .. 4;
	foreach (1 .. $random->between(10, 60))
	{
		my @changes = map { $update->($first + $random->between(1, 4)) } 1 .. $random->between(1, 6);
		my $undone = $update->($first + $random->between(1, 4));
		push @script, 'BEGIN', @changes, $random->weighted(
			5 => 'COMMIT', 1 => 'ROLLBACK', 1 => "SAVEPOINT s;\n$undone;\nROLLBACK TO s;\nCOMMIT");
		push @script, 'SELECT pg_sleep(0.005)' if $random->chance(20);
	}
	my $client = WebhookModel::Client->new($world->{node}, "burst $number");
	$world->{statements}{$number} = { is_burst => 1 };
	push @{ $world->{bursts} }, { client => $client, statement => $world->{statements}{$number} };
	$client->send(join(";\n", @script));
	return;
}

sub end_burst
{
	my ($world, $burst) = @_;
	$burst->{client}->wait if $burst->{client}->is_busy;
	$burst->{statement}{to} = time();
	$burst->{client}->close;
	return;
}

# More at once than lanes hold.
sub flood
{
	my ($world, $random) = @_;
	my $count = $random->between(200, 600);
	my ($item, $change) = ($world->new_items($count), $world->new_change_numbers($count));
	my $organization = $random->pick(@WebhookModel::World::organizations);
	# Each a new item, which nobody changes any more.
	$world->change($world->{admin}, undef, "INSERT INTO items SELECT 900000000000 + $item + i, '$organization', $change + i, i % 10, 'flood'
		FROM generate_series(0, $count - 1) i");
	return;
}

# --- Webhooks -----------------------------------------------------------------------------------------------------------

my @patterns = (['item.*'], ['item.*'], ['item.*'], ['item.created', 'item.updated'], ['item.updated', 'item.deleted']);
my @schedules = ('{' . join(',', ('100ms') x 20) . '}', '{' . join(',', ('100ms') x 20) . '}', '{50ms,100ms}', undef);

sub insert_webhook
{
	my ($world, $random, $organization, $ordering) = @_;
	my ($webhook, $insert) = new_webhook($world, $random, $organization, $ordering);
	administer($world, $insert);
	return;
}

# A webhook that is not there yet, and the statement that inserts it.
sub new_webhook
{
	my ($world, $random, $organization, $ordering) = @_;
	my %columns = (
		organization_id => $organization,
		ordering => $ordering,
		events => $random->pick(@patterns),
		filter => $random->chance(15) ? '$.n >= ' . $random->between(1, 8) : undef,
		timeout_ms => $random->pick(500, 1000, 2000),
		max_in_flight => $random->pick(1, 4, 16),
		retry_schedule => $random->pick(@schedules));
	my $webhook = $world->new_webhook($random->uuid, %columns);
	$columns{id} = $webhook->{id};
	$columns{name} = "webhook $webhook->{number}";
	$columns{url} = $world->{receiver}->url($webhook->{path});
	$columns{secret} = "whsec_" . MIME::Base64::encode_base64($webhook->{id}, '');
	push @{ $webhook->{secrets} }, { from => 0, secret => $columns{secret} };
	my @names = sort keys %columns;
	my $values = join(', ', map { sql_literal($columns{$_}) } @names);
	my $insert = 'INSERT INTO webhook_configurations (' . join(', ', @names) . ") VALUES ($values)";
	return ($webhook, $insert);
}

# A statement about webhooks, and what it changed of them.
sub administer
{
	my ($world, $statement) = @_;
	$world->read_webhooks if $world->{has_gone};
	my $answer = $world->{admin}->run($statement);
	$world->trace("  $statement" . ($answer->{error} ? " -- $answer->{error}" : ''));
	$world->wait_for_server if $answer->{is_lost};
	$world->read_webhooks($answer->{from});
	return $answer;
}

# One whose rows no open transaction of an administrator holds.
sub free_webhook
{
	my ($world, $random) = @_;
	my $held = $world->{held} ? $world->{held}{webhook} : 0;
	return pick_webhook($world, $random, grep { $_ != $held } $world->live_webhooks);
}

# Of these webhooks that of the episode most often.
sub pick_webhook
{
	my ($world, $random, @webhooks) = @_;
	my $focused = $random->chance(50);
	my $webhook = $random->pick(@webhooks);
	return $focused && (grep { $_ == $world->{focus} } @webhooks) ? $world->{focus} : $webhook;
}

sub create_webhook
{
	my ($world, $random) = @_;
	return if $world->live_webhooks >= 10;
	insert_webhook($world, $random, $random->pick(@WebhookModel::World::organizations), $random->pick(@WebhookModel::World::orderings));
	return;
}

# In one transaction: its first deliveries are pending before the worker has seen the webhook.
sub create_and_replay
{
	my ($world, $random) = @_;
	return if $world->{held} || $world->live_webhooks >= 10;
	my $from = time();
	my ($webhook, $insert) =
	  new_webhook($world, $random, $random->pick(@WebhookModel::World::organizations), $random->pick(@WebhookModel::World::orderings));
	send_again($world, $random, $webhook, "$insert;\n" . replay_statements($random, $webhook));
	end_held($world, $random->chance(90) ? 'COMMIT' : 'ROLLBACK');
	$world->wait_for_server;
	$world->read_webhooks($from);
	return;
}

sub update
{
	my ($world, $webhook, $assignments) = @_;
	return administer($world, "UPDATE webhook_configurations SET $assignments WHERE id = '$webhook->{id}'");
}

sub edit
{
	my ($world, $random) = @_;
	my $webhook = free_webhook($world, $random) or return;
	my $edit = ++$webhook->{edits};
	update($world, $webhook, $random->weighted(
		2 => 'timeout_ms = ' . $random->pick(400, 1000, 3000),
		2 => 'max_in_flight = ' . $random->pick(1, 2, 16),
		2 => 'url = ' . sql_literal($world->{receiver}->url("$webhook->{path}?edit=$edit")),
		1 => 'rate_limit_per_s = ' . $random->pick(500, 2000, 'NULL', 'NULL'),
		1 => 'headers = ' . sql_literal(qq({"X-Edit": "$edit"})),
		1 => 'events = ' . sql_literal($random->pick(@patterns)),
		1 => 'filter = ' . ($random->chance(50) ? 'NULL' : "'\$.n >= " . $random->between(1, 8) . q('))));
	return;
}

sub toggle
{
	my ($world, $random) = @_;
	my $webhook = free_webhook($world, $random) or return;
	update($world, $webhook, 'is_active = ' . ($webhook->{standing}->latest eq 'on' ? 'false' : 'true'));
	return;
}

sub delete_webhook
{
	my ($world, $random) = @_;
	return if $world->live_webhooks <= 4;
	my $webhook = free_webhook($world, $random) or return;
	administer($world, "DELETE FROM webhook_configurations WHERE id = '$webhook->{id}'");
	return;
}

sub order
{
	my ($world, $random) = @_;
	my $webhook = free_webhook($world, $random) or return;
	update($world, $webhook,
		'ordering = ' . sql_literal($random->pick(grep { $_ ne $webhook->{ordering}->latest } @WebhookModel::World::orderings)));
	return;
}

sub rotate
{
	my ($world, $random) = @_;
	my $webhook = free_webhook($world, $random) or return;
	my $overlap = $random->pick('0', '1 hour');
	my $answer = administer($world, "SELECT webhook_rotate_secret('$webhook->{id}', '$overlap')");
	# A new secret that was lost on its way is revealed.
	my $secret = $answer->{is_lost} ? $world->ask("SELECT webhook_reveal_secret('$webhook->{id}')") : $answer->{text};
	push @{ $webhook->{secrets} }, { from => $answer->{from}, to => time(), secret => $secret };
	return;
}

# --- Sending again ------------------------------------------------------------------------------------------------------

# Statements that have events sent again, and print which: a line of JSON each.
sub replay_statements
{
	my ($random, $webhook) = @_;
	my $since = "clock_timestamp() - interval '" . $random->pick('100ms', '1s', '5s', '1 hour') . q(');
	my $only_failed = $random->chance(25) ? 'true' : 'false';
	return qq{
		CREATE TEMP TABLE replayed ON COMMIT DROP AS SELECT $since AS since;
		SELECT json_build_object('event', e.event, 'change', e.data->>'change')
		  FROM webhook_own_events e, replayed, webhook_configurations c
		 WHERE c.id = '$webhook->{id}' AND e.organization_id = c.organization_id AND e.created_at >= since
		   AND EXISTS (SELECT FROM unnest(c.events) p WHERE webhook_event_matches(p, e.event))
		   AND (c.filter IS NULL OR webhook_filter_problem(c.filter, e.data) IS NULL)
		   AND (NOT $only_failed OR EXISTS (SELECT FROM webhook_deliveries d
		       WHERE d.configuration_id = c.id AND d.event_id = e.id AND d.state = 'dead'));
		SELECT json_build_object('count', webhook_replay('$webhook->{id}', since, 'infinity', only_failed => $only_failed)) FROM replayed};
}

sub redeliver_statements
{
	my ($random, $webhook) = @_;
	my $back = $random->weighted(3 => 0, 2 => $random->below(10), 1 => $random->below(1000));
	my $count = $random->pick(1, 1, 10);
	# What is to be tried again, or is being tried, or anything.
	my $which = $random->chance(60) ? 'EXISTS (SELECT FROM webhook_deliveries d
		WHERE d.configuration_id = l.configuration_id AND d.event_id = l.event_id)' : 'true';
	return qq{
		WITH redelivered AS MATERIALIZED (
			SELECT l.id, l.event_id FROM webhook_logs l JOIN webhook_events e ON e.id = l.event_id AND e.data IS NOT NULL
			 WHERE l.configuration_id = '$webhook->{id}' AND $which ORDER BY l.id DESC OFFSET $back LIMIT $count)
		SELECT json_build_object('event', e.event, 'change', e.data->>'change', 'at', (webhook_redeliver(r.id)).next_attempt_at)
		  FROM redelivered r JOIN webhook_events e ON e.id = r.event_id};
}

# Runs them in a transaction that ends at once, or stays open for some operations to come.
sub send_again
{
	my ($world, $random, $webhook, $statements) = @_;
	my $client = $world->{holder} //= WebhookModel::Client->new($world->{node}, 'holder');
	# In one snapshot: what is said to be replayed is what is.
	my $answer = $client->run("BEGIN ISOLATION LEVEL REPEATABLE READ;\n$statements");
	$world->trace("  webhook $webhook->{number}: $answer->{text}") if length $answer->{text} < 2000;
	return if $answer->{is_lost};
	if ($answer->{error}) { $client->run('ROLLBACK'); return; }
	my @asked = map { JSON::PP::decode_json($_) } grep { /^\{/ } split /\n/, $answer->{text};
	my ($count) = map { $_->{count} } grep { exists $_->{count} } @asked;
	@asked = grep { exists $_->{event} } @asked;
	$world->violated("webhook $webhook->{number}: webhook_replay() says $count, and not " . @asked) if defined $count && $count != @asked;
	$world->{held} = { webhook => $webhook, asked => \@asked, from => $answer->{from} };
	return;
}

sub end_held
{
	my ($world, $how) = @_;
	my $held = $world->{held} or return;
	$world->{held} = undef;
	my $answer = $world->{holder}->run($how);
	return if $how eq 'ROLLBACK';
	$world->expect_again($held->{webhook}, $_, $answer) foreach @{ $held->{asked} };
	$world->cancelled($held->{webhook}, $held->{from}, $answer->{to}) if $held->{is_cancel};
	return;
}

sub replay
{
	my ($world, $random) = @_;
	return if $world->{held};
	my $webhook = free_webhook($world, $random) or return;
	send_again($world, $random, $webhook, replay_statements($random, $webhook));
	end_held($world, $random->chance(85) ? 'COMMIT' : 'ROLLBACK');
	return;
}

sub redeliver
{
	my ($world, $random) = @_;
	return if $world->{held};
	# Mostly one of those of which attempts may be on their way.
	my @retried = map { $world->{by_id}{$_} // () } split /\n/, $world->ask(
		q{SELECT DISTINCT configuration_id FROM webhook_deliveries WHERE state = 'pending' AND attempts > 0 ORDER BY 1});
	my $webhook = $random->chance(70) ? $random->pick(@retried) : undef;
	$webhook //= free_webhook($world, $random) or return;
	send_again($world, $random, $webhook, redeliver_statements($random, $webhook));
	end_held($world, 'COMMIT');
	return;
}

sub cancel
{
	my ($world, $random) = @_;
	return if $world->{held};
	my $webhook = free_webhook($world, $random) or return;
	send_again($world, $random, $webhook, "SELECT webhook_cancel('$webhook->{id}')");
	$world->{held}{is_cancel} = 1 if $world->{held};
	end_held($world, 'COMMIT');
	return;
}

# A transaction that holds a webhook's pending deliveries, for a while.
sub hold
{
	my ($world, $random) = @_;
	if ($world->{held}) { end_held($world, $random->chance(75) ? 'COMMIT' : 'ROLLBACK'); return; }
	my $webhook = free_webhook($world, $random) or return;
	my $what = $random->weighted(3 => 'replay', 3 => 'redeliver', 1 => 'cancel');
	send_again($world, $random, $webhook,
		$what eq 'replay' ? replay_statements($random, $webhook)
		: $what eq 'redeliver' ? redeliver_statements($random, $webhook) : "SELECT webhook_cancel('$webhook->{id}')");
	$world->{held}{is_cancel} = 1 if $world->{held} && $what eq 'cancel';
	return;
}

# --- Receivers ----------------------------------------------------------------------------------------------------------

# Status 599 stands in the record for an answer that never came, 299 for one that may have come too late.
my @scripts = (
	6 => '/ok',
	3 => '/percent/30/status/503',
	3 => '/status/503',
	2 => '/percent/20/status/404',
	2 => '/times/1/status/500',
	2 => '/times/2/status/503/delay/50',
	3 => '/percent/40/status/503/delay-up-to/300',
	2 => '/delay-up-to/200',
	2 => '/percent/50/status/299/delay/450',
	1 => '/percent/20/status/599/close',
	1 => '/percent/10/status/599/hang',
	1 => '/retry-after/1/percent/50/status/429');

sub flap
{
	my ($world, $random) = @_;
	my $webhook = pick_webhook($world, $random, $world->live_webhooks) or return;
	my $script = $random->weighted(@scripts);
	$world->trace("  webhook $webhook->{number} $script");
	$webhook->{is_closing} = 1 if $script =~ /close/;
	$world->{receiver}->set($webhook->{path}, $script);
	$webhook->{script} = $script;
	return;
}

# The endpoint says 410: the worker switches the webhook off.
sub disable
{
	my ($world, $random) = @_;
	my $webhook = free_webhook($world, $random) or return;
	$world->{receiver}->set($webhook->{path}, $webhook->{script} = '/status/410');
	$world->{has_gone} = 1;
	return;
}

sub restart_receiver
{
	my ($world, $random) = @_;
	my $receiver = $world->{receiver};
	++$world->{breaks};
	$receiver->kill;
	sleep($random->below(300) / 1000);
	$receiver->start;
	$receiver->set($_->{path}, $_->{script} // '/ok') foreach @{ $world->{webhooks} };
	return;
}

# --- Workers and the server -------------------------------------------------------------------------------------------------

sub worker_pids
{
	my ($world) = @_;
	return split /\n/, $world->ask(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook worker' ORDER BY pid});
}

sub terminate_worker
{
	my ($world, $random) = @_;
	my $from = time();
	my @pids = worker_pids($world);
	# The place among them is chance; who has which pid is not.
	my $pid = $random->pick(@pids) or return;
	$world->ask("SELECT pg_terminate_backend($pid)");
	push @{ $world->{crashes} }, [ $from, 9e99 ];    # until the next rest: nobody waits for it
	return;
}

sub kill_worker
{
	my ($world, $random) = @_;
	my $from = time();
	my $pid = $random->pick(worker_pids($world)) or return;
	kill 'KILL', $pid;
	# It ends all sessions, this one too.
	wait_until { $world->{admin}->run('SELECT 1')->{is_lost} } 'the crash';
	$world->lost($from);
	return;
}

sub stop
{
	my ($world, $random) = @_;
	my $from = time();
	my $mode = $random->pick('fast', 'immediate', 'immediate');
	$world->trace("  $mode");
	$world->{node}->stop($mode);
	sleep($random->below(200) / 1000);
	$world->{node}->start;
	$world->lost($from);
	return;
}

sub terminate_session
{
	my ($world, $random) = @_;
	my $slot = $random->pick(grep { $_->{client}->is_connected } @{ $world->{slots} }) or return;
	my $pid = $slot->{client}->run('SELECT pg_backend_pid()');
	return if $pid->{is_lost} || $pid->{error};
	$world->ask("SELECT pg_terminate_backend($pid->{text}, 10000)");
	$slot->{client}->run('SELECT 1');
	$world->end_lost_transactions;
	return;
}

sub set_workers
{
	my ($world, $random) = @_;
	my $from = time();
	$world->{workers} = $random->pick(grep { $_ != $world->{workers} } 1 .. 4);
	$world->ask("ALTER SYSTEM SET webhook.workers = $world->{workers};\nSELECT pg_reload_conf()");
	push @{ $world->{crashes} }, [ $from, 9e99 ];
	return;
}

# The segments are as old as their retention: the worker moves on to the next, which it empties first.
sub turn_rings
{
	my ($world, $random) = @_;
	my $ring = $random->pick(qw(events logs));
	return if ++$world->{turns}{$ring} > 5;    # what has not been checked yet is not to go
	$world->ask("UPDATE webhook_rings SET opened_at = opened_at - interval '1 year' WHERE ring = '$ring'");
	return;
}

sub pause
{
	my ($world, $random) = @_;
	$world->{is_paused} = !$world->{is_paused};
	$world->ask($world->{is_paused} ? q{SELECT webhook_pause('model')} : 'SELECT webhook_resume()');
	return;
}

sub linger { my ($world, $random) = @_; sleep($random->below(400) / 1000); return; }

1;
