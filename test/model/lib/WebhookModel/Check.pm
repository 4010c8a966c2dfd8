# What must hold when nothing is on its way any more: brings the world to rest, reads what happened, and compares.
#
# For a webhook and an event there are obligations to deliver: one by the event itself, and one more each time that somebody
# asked for it again. An obligation is sure, or it is not: if the webhook was changed, deleted or cancelled in the moment that
# decides, both outcomes are right.
package WebhookModel::Check;

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use List::Util qw(first max min sum);
use MIME::Base64 qw(decode_base64 encode_base64);
use Time::HiRes qw(time);
use WebhookModel::Operations;
use WebhookTest qw(wait_until);

# --- Rest -------------------------------------------------------------------------------------------------------------

# Ends what is under way, heals the receivers, and waits until nothing is to be done. Some transactions stay open.
sub come_to_rest
{
	my ($world, $random) = @_;
	$world->end_lost_transactions;
	WebhookModel::Operations::end_held($world, $random->chance(80) ? 'COMMIT' : 'ROLLBACK');
	WebhookModel::Operations::end_burst($world, shift @{ $world->{bursts} }) while @{ $world->{bursts} };
	WebhookModel::Operations::pause($world) if $world->{is_paused};
	foreach my $slot (@{ $world->{slots} })
	{
		next unless $slot->{transaction} && $random->chance(70);
		WebhookModel::Operations::end_transaction($world, $slot, $random->chance(80) ? 'commit' : 'rollback');
	}
	WebhookModel::Operations::prepared($world, $random) if $random->chance(50);
	foreach my $webhook (@{ $world->{webhooks} })
	{
		$world->{receiver}->set($webhook->{path}, $webhook->{script} = '/ok') if ($webhook->{script} // '/ok') ne '/ok';
	}
	$world->read_webhooks;
	foreach my $webhook ($world->live_webhooks)
	{
		# Most are switched on again. What those get that stay off is checked when they are on.
		next unless $webhook->{standing}->latest eq 'off' && $random->chance(70);
		WebhookModel::Operations::update($world, $webhook, 'is_active = true');
	}
	$world->ask('INSERT INTO markers VALUES (1)');
	my $marker = $world->ask('SELECT pg_current_xact_id()');
	# A worker that has left because there is nothing to do has no reason to move its checkpoint.
	$world->ask("INSERT INTO markers VALUES (2);\nSELECT webhook_internal.wake()");
	my ($state, $is_at_rest);
	my $size = -s $world->{receiver}->record_file;
	# On a machine that is busy it takes as long as it takes, as long as something comes.
	until ($is_at_rest)
	{
		$is_at_rest = wait_until
		{
			close_circuits($world);
			($state) = $world->ask_json(state_query($world, $marker));
			return !grep { $_ } values %$state;
		} 'rest';
		last if $size == -s $world->{receiver}->record_file;
		$size = -s $world->{receiver}->record_file;
	}
	$world->violated('it does not come to rest: ' . join(', ', map { "$_ $state->{$_}" } grep { $state->{$_} } sort keys %$state))
	  unless $is_at_rest;
	$world->read_webhooks;
	$_->[1] = min($_->[1], time()) foreach @{ $world->{crashes} };
	$world->{turns} = {};
	return $is_at_rest;
}

# An answer to a test closes a circuit.
sub close_circuits
{
	my ($world) = @_;
	my $tests = $world->{admin}->run(q{
		SELECT webhook_test(c.id) FROM webhook_endpoints e JOIN webhook_configurations c ON c.id = e.configuration_id
		 WHERE e.circuit_opened_at IS NOT NULL AND c.is_active});
	$world->trace("  test: $tests->{error}") if $tests->{error};
	return;
}

# What is still to be done, each as a number.
sub state_query
{
	my ($world, $marker) = @_;
	return qq{
		SELECT
			(SELECT count(*) FROM webhook_deliveries d JOIN webhook_configurations c ON c.id = d.configuration_id
			  WHERE d.state = 'pending' AND c.is_active) AS pending,
			(SELECT count(*) FROM webhook_internal.deferred_changes) AS deferred,
			(SELECT count(*) FROM webhook_changes) AS webhook_changes,
			(SELECT count(*) FROM webhook_stats WHERE is_active AND circuit = 'open') AS circuits_open,
			(SELECT abs(workers + workers_asleep - $world->{workers}) FROM webhook_server_state()) AS workers_missing,
			(SELECT coalesce(sum(in_flight + queued + events_ahead), 0) FROM webhook_workers) AS in_memory,
			(SELECT count(*) FROM webhook_checkpoint WHERE NOT pg_visible_in_snapshot('$marker', snapshot_from)) AS checkpoints_behind,
			(SELECT abs(count(*) - $world->{workers}) FROM webhook_checkpoint) AS checkpoints_missing};
}

# --- What happened ------------------------------------------------------------------------------------------------------

# Reads what has happened since the last rest, and judges.
sub judge
{
	my ($world) = @_;
	$world->{rested_at} = time();
	$world->{obligations} //= [];
	my @events = read_journal($world);
	read_stored_events($world);
	my @arrivals = read_arrivals($world);
	my %logged = read_logs($world);
	foreach my $event (@events)
	{
		foreach my $webhook (@{ $world->{webhooks} })
		{
			next if $webhook->{organization} ne $event->{organization_id};
			my $verdict = verdict($world, $webhook, $event);
			$webhook->{verdicts}{ $event->{name} } = $verdict;
			next if $verdict eq 'never';
			push @{ $world->{obligations} },
			  { webhook => $webhook, event => $event, is_first => 1, from => 0, to => $event->{commit_to}, is_sure => $verdict eq 'must' };
		}
	}
	my $obligations = $world->{obligations};
	foreach my $obligation (@$obligations)
	{
		$obligation->{event} //= $world->{events}{ $obligation->{event_name} };
		$obligation->{is_sure} = 0 if $obligation->{webhook}{standing}->latest eq 'gone' || was_cancelled($obligation);
	}
	check_arrivals($world, @arrivals);
	check_delivered($world, \%logged);
	check_attempts($world, \%logged);
	check_order($world);
	my %logged_of;
	push @{ $logged_of{ $_->[0]{number} } }, $_->[1] foreach values %logged;
	check_overlaps($world, $world->{webhooks}[ $_ - 1 ], @{ $logged_of{$_} }) foreach keys %logged_of;
	check_residue($world);
	if ($world->violations)
	{
		$world->trace(sprintf('  %.6f webhook %d got %s (%d)', $_->{at}, $_->{webhook}{number}, @$_{qw(name status)})) foreach @arrivals;
	}
	@$obligations = grep { $_->{is_open} } @$obligations;
	$world->trace(sprintf('  judged %d events, %d arrivals, %d attempts', scalar @events, scalar @arrivals, scalar keys %logged));
	$world->{counted}{events} += @events;
	$world->{counted}{arrivals} += @arrivals;
	return;
}

# The changes that have committed.
sub read_journal
{
	my ($world) = @_;
	my @rows = sort { $a->{number} <=> $b->{number} } $world->ask_json(q{
		DELETE FROM journal RETURNING number, statement, xid::text, extract(epoch FROM captured_at) AS captured_from,
			event || ' ' || change AS name, event, change, item, organization_id, n, filler_length});
	my %by_statement;
	push @{ $by_statement{ $_->{statement} } }, $_ foreach @rows;
	foreach my $statement (keys %by_statement)
	{
		my $known = $world->{statements}{$statement};
		my @own = @{ $by_statement{$statement} };
		$own[$_]{captured_to} = $_ < $#own ? $own[ $_ + 1 ]{captured_from} : $known->{to} foreach 0 .. $#own;
		foreach my $n (reverse 0 .. $#own)
		{
			my $event = $own[$n];
			my $next = $own[ $n + 1 ];
			if (!$known->{is_burst})
			{
				$event->{transaction} = "t$known->{transaction}{number}";
				my $transaction = $known->{transaction};
				$event->{commit_from} = max($transaction->{commit_from}, $event->{captured_from});
				$event->{commit_to} = $transaction->{commit_to};
				$event->{written_from} = max($event->{captured_from}, min($event->{commit_from}, $transaction->{written_from} // 9e99));
			}
			elsif ($next && $next->{xid} eq $event->{xid})
			{
				@$event{qw(transaction commit_from commit_to)} = @$next{qw(transaction commit_from commit_to)};
			}
			else
			{
				$event->{transaction} = "x$event->{xid}";
				@$event{qw(commit_from commit_to)} = @$event{qw(captured_from captured_to)};
			}
			$event->{written_from} //= $event->{commit_from};
		}
	}
	my %by_transaction;
	push @{ $by_transaction{ $_->{transaction} } }, $_ foreach @rows;
	foreach my $own (values %by_transaction)
	{
		# It writes what it has when that is a thousand events, or 1 MB, with the JSON around them.
		next if @$own < 1000 && sum(map { $_->{filler_length} + 500 } @$own) < 1 << 20;
		$_->{written_from} = $_->{captured_from} foreach @$own;
	}
	$world->{events}{ $_->{name} } = $_ foreach @rows;
	return @rows;
}

# The ids of the events.
sub read_stored_events
{
	my ($world) = @_;
	my $before = $world->{snapshot} // '1:1:';
	$world->{snapshot} = $world->ask('SELECT pg_current_snapshot()');
	foreach my $row ($world->ask_json(qq{
		SELECT id, event || ' ' || (data->>'change') AS name FROM webhook_events
		 WHERE event LIKE 'item.%' AND NOT pg_visible_in_snapshot(xid, '$before')}))
	{
		$world->violated("stored and not committed: $row->{name}") unless $world->{events}{ $row->{name} };
		my $other = $world->{event_ids}{ $row->{name} };
		$world->violated("stored twice: $row->{name}") if defined $other && $other ne $row->{id};
		$world->{event_ids}{ $row->{name} } = $row->{id};
		$world->{event_names}{ $row->{id} } = $row->{name};
	}
	return;
}

# The requests since the last rest, as they came.
sub read_arrivals
{
	my ($world) = @_;
	my @arrivals;
	open(my $record, '<:raw', $world->{receiver}->record_file) or return;
	seek($record, $world->{record_offset} // 0, 0);
	while (my $line = <$record>)
	{
		my ($at_us, $id, $number, $status) = $line =~
		  m{^\{"received_us":(\d+),"webhook_id":"([^"]*)","path":"/w(\d+)[^"]*".*?"status":(\d+)} or next;
		next if $line =~ /"X-Webhook-Test","true"/;
		my %header = map { $_ => ($line =~ /"$_","([^"]*)"/)[0] // '' } qw(webhook-timestamp webhook-signature);
		my $body = decode_base64(($line =~ /"body_base64":"([^"]*)"/)[0]);
		my ($event, $change) = $body =~ /^\{"event":"([^"]*)".*?"data":\{.*?"change":(\d+)/ or die "no change in $line";
		push @arrivals, {
			at => $at_us / 1e6, id => $id, webhook => $world->{webhooks}[ $number - 1 ], name => "$event $change",
			status => $status, body => $body, %header };
	}
	$world->{record_offset} = tell($record);
	close($record);
	foreach my $arrival (@arrivals)
	{
		push @{ $arrival->{webhook}{arrivals}{ $arrival->{name} } }, { at => $arrival->{at}, status => $arrival->{status} };
	}
	return @arrivals;
}

# What webhook_logs says of each webhook and event, kept for as long as the round lasts. Returns which have new rows.
sub read_logs
{
	my ($world) = @_;
	my %changed;
	my $from = ($world->{last_log} // 0) - 2000;    # a row may have committed later than one with a higher id
	foreach my $row ($world->ask_json(qq{
		SELECT id, configuration_id, event_id, attempt, status, response_status, error, duration_ms,
			extract(epoch FROM created_at) AS at, next_attempt_at IS NULL AS is_last
		  FROM webhook_logs WHERE id > $from AND event LIKE 'item.%' AND event_id > 0 ORDER BY id}))
	{
		next if $world->{logs}{ $row->{id} };
		$world->{last_log} = max($world->{last_log} // 0, $row->{id});
		my $name = $world->{event_names}{ $row->{event_id} };
		my $webhook = $world->{by_id}{ $row->{configuration_id} };
		$world->{logs}{ $row->{id} } = 1;
		if (!$name) { $world->violated("the log has a row of event $row->{event_id}, which did not commit"); next; }
		push @{ $webhook->{log}{$name} }, $row;
		$changed{"$webhook->{number} $name"} = [ $webhook, $name ];
	}
	return %changed;
}

# --- What is pending -------------------------------------------------------------------------------------------------------

# Whether the event must come to the webhook for its own sake: must, maybe or never.
sub verdict
{
	my ($world, $webhook, $event) = @_;
	my @standings = $webhook->{standing}->during($event->{captured_from}, $event->{captured_to});
	my $was_on = grep { $_ eq 'on' } @standings;
	my @subscriptions = $webhook->{subscription}->during($event->{captured_from}, $world->{rested_at});
	my $matched = grep { WebhookModel::World::matches($_, $event) } @subscriptions;
	return 'never' if !$was_on || !$matched;
	return $was_on == @standings && $matched == @subscriptions ? 'must' : 'maybe';
}

# Whether webhook_cancel() may have given it up.
sub was_cancelled
{
	my ($obligation) = @_;
	return scalar(grep { $_->{to} >= ($obligation->{is_first} ? $obligation->{event}{commit_from} : $obligation->{from}) }
		@{ $obligation->{webhook}{cancels} // [] });
}

sub described
{
	my ($obligation) = @_;
	my ($webhook, $event) = @$obligation{qw(webhook event)};
	return sprintf('webhook %d (%s), item %d: %s, captured %.6f to %.6f, committed %.6f to %.6f%s', $webhook->{number}, $webhook->{id},
		@$event{qw(item name captured_from captured_to commit_from commit_to)},
		$obligation->{is_first} ? '' : sprintf(', asked for again at %.6f', $obligation->{from}));
}

# P2, and P10 for what was not delivered.
sub check_delivered
{
	my ($world) = @_;
	my %rows;
	$rows{"$_->{configuration_id} $_->{event_id}"} = $_ foreach $world->ask_json(
		q{SELECT configuration_id, event_id, state, last_error, attempts FROM webhook_deliveries});
	foreach my $obligation (@{ $world->{obligations} })
	{
		my ($webhook, $event, $from) = @$obligation{qw(webhook event from)};
		my $name = $event->{name};
		my $id = $world->{event_ids}{$name};
		my $row = defined $id ? $rows{"$webhook->{id} $id"} : undef;
		my $arrival = first { $_->{at} >= $from && $_->{status} =~ /^2/ } @{ $webhook->{arrivals}{$name} // [] };
		my $success = first { $_->{status} eq 'success' && $_->{at} >= $from } @{ $webhook->{log}{$name} // [] };
		my $end = first { $_->{status} eq 'failed' && $_->{is_last} && $_->{at} >= $from } @{ $webhook->{log}{$name} // [] };
		$obligation->{done_at} = min(grep { defined } $arrival && $arrival->{at}, $end && $end->{at}) // 9e99;
		$obligation->{is_open} = $row && $row->{state} eq 'pending' && $webhook->{standing}->latest ne 'gone';
		next if !$obligation->{is_sure} || $obligation->{is_open};
		if ($row && $row->{state} eq 'dead')
		{
			$world->violated('dead, and nobody says why: ' . described($obligation)) unless defined $row->{last_error};
			next;
		}
		next if $end && !$obligation->{is_first};
		$world->violated('lost: ' . described($obligation)) unless $arrival || $end;
		$world->violated('not in the log: ' . described($obligation)) unless $success || $end;
	}
	return;
}

# P1, P3: nothing came that was not to come, each event has one id, and what came is what was changed.
sub check_arrivals
{
	my ($world, @arrivals) = @_;
	my %may;
	$may{"$_->{webhook}{number} $_->{event}{name}"} = 1 foreach @{ $world->{obligations} };
	foreach my $arrival (@arrivals)
	{
		my ($webhook, $name) = @$arrival{qw(webhook name)};
		my $event = $world->{events}{$name};
		if (!$event) { $world->violated("came and has not committed: webhook $webhook->{number}, $name"); next; }
		my $id = $world->{ids}{$name} //= $arrival->{id};
		$world->violated("$name came as $id and as $arrival->{id}") if $id ne $arrival->{id};
		my $owner = $world->{names}{$id} //= $name;
		$world->violated("$id is $owner and $name") if $owner ne $name;
		check_contents($world, $arrival, $event);
		next if $may{"$webhook->{number} $name"} || $webhook->{was_pending}{$name};
		$world->violated(sprintf('was not to come, at %.6f: %s', $arrival->{at},
				described({ webhook => $webhook, event => $event, is_first => 1 })));
	}
	$_->{webhook}{was_pending}{ $_->{event}{name} } = 1 foreach @{ $world->{obligations} };
	return;
}

sub check_contents
{
	my ($world, $arrival, $event) = @_;
	my ($webhook, $body) = @$arrival{qw(webhook body)};
	my $data = qq("data":{"id":$event->{item},"organization_id":"$event->{organization_id}",)
	  . qq("change":$event->{change},"n":$event->{n},"filler":");
	my $at = index($body, $data);
	my $filler = $at < 0 ? '' : substr($body, $at + length $data);
	$world->violated("webhook $webhook->{number}, $event->{name}: what came is not what was changed")
	  if $at < 0 || length($filler) != $event->{filler_length} + length('"}}');
	# A secret signs until it is replaced, and for as long as the worker may not have heard of that; the new one signs what
	# commits later.
	my %signatures = map { $_ => 1 } split / /, $arrival->{'webhook-signature'};
	my @secrets = @{ $webhook->{secrets} };
	my @newest = grep { $_->{from} == 0 || $_->{to} < $event->{commit_from} } @secrets;
	my @good = grep { $signatures{ 'v1,' . signature($_->{secret}, $arrival) } } @secrets;
	$world->violated("webhook $webhook->{number}, $event->{name}: its signature does not verify")
	  unless grep { $_ == $newest[-1] || $_->{from} > $newest[-1]{from} } @good;
	return;
}

sub signature
{
	my ($secret, $arrival) = @_;
	my $key = decode_base64($secret =~ s/^whsec_//r);
	return encode_base64(hmac_sha256(join('.', @$arrival{qw(id webhook-timestamp body)}), $key), '');
}

# P3, P10: attempts are in the log, each once.
sub check_attempts
{
	my ($world, $logged) = @_;
	foreach my $pair (values %$logged)
	{
		my ($webhook, $name) = @$pair;
		my $asked = $webhook->{asked}{$name} // 0;
		my @rows = sort { $a->{id} <=> $b->{id} } @{ $webhook->{log}{$name} };
		my @arrivals = @{ $webhook->{arrivals}{$name} // [] };
		my $at = "webhook $webhook->{number} ($webhook->{id}), $name";
		my $crashes = @arrivals ? grep { $_->[1] >= $arrivals[0]{at} } @{ $world->{crashes} } : 0;
		my $numbers = join(' ', map { $_->{attempt} } @rows);
		my $successes = grep { $_->{status} eq 'success' } @rows;
		my $attempts = grep { $_->{attempt} > 0 } @rows;
		$world->violated("$at: $successes successes in the log, though it was asked for again $asked times") if $successes > 1 + $asked;
		my $answers = grep { $_->{status} =~ /^2/ } @arrivals;
		$world->violated("$at: $successes successes in the log, and $answers requests") if $successes > $answers;
		my $breaks = $world->{breaks} + ($webhook->{is_closing} ? 9e9 : 0);
		$world->violated("$at: " . @arrivals . " requests, $attempts attempts ($numbers) in the log, $crashes crashes")
		  if @arrivals > $attempts + $crashes + $breaks;
		my ($last, $restarts) = (0, 0);
		foreach my $row (@rows)
		{
			next if $row->{attempt} == 0;
			++$restarts if $row->{attempt} != $last + 1;
			$world->violated("$at: attempts $numbers") if $row->{attempt} != $last + 1 && $row->{attempt} != 1;
			$last = $row->{attempt};
		}
		$world->violated("$at: attempts $numbers, though it was asked for again $asked times") if $restarts > $asked;
	}
	return;
}

# What deleted webhooks leave, and what the worker says of itself.
sub check_residue
{
	my ($world) = @_;
	foreach my $table (qw(webhook_deliveries webhook_minutes webhook_hours webhook_endpoints webhook_secrets))
	{
		my $left = $world->ask("SELECT count(*) FROM $table t WHERE NOT EXISTS
			(SELECT FROM webhook_configurations c WHERE c.id = t.configuration_id)");
		$world->violated("$left rows of $table are of webhooks that are gone") if $left;
	}
	my $expected = 'the webhook is inactive|the last attempt|deliveries are pending|deliveries were given up|nothing has been sent'
	  . '|its filter could not judge';
	my $findings = $world->ask("SELECT c.name, f.* FROM webhook_configurations c, webhook_check(c.id) f WHERE f.finding !~ '$expected'
		AND (c.is_active OR f.finding !~ 'the circuit is open')");
	$world->violated("webhook_check() says: $findings") if length $findings;
	return;
}

# --- Order --------------------------------------------------------------------------------------------------------------

sub check_order
{
	my ($world) = @_;
	my %by_webhook;
	push @{ $by_webhook{ $_->{webhook}{number} } }, $_ foreach @{ $world->{obligations} };
	foreach my $number (keys %by_webhook)
	{
		my @obligations = sort { $a->{event}{number} <=> $b->{event}{number} } @{ $by_webhook{$number} };
		foreach my $obligation (@obligations)
		{
			my ($webhook, $name) = ($obligation->{webhook}, $obligation->{event}{name});
			$obligation->{first_arrival} = $webhook->{arrivals}{$name} ? $webhook->{arrivals}{$name}[0]{at} : undef;
			$obligation->{first_try} = min(grep { defined } $obligation->{first_arrival},
				map { $_->{at} } grep { $_->{attempt} > 0 } @{ $webhook->{log}{$name} // [] });
		}
		check_keys($world, @obligations);
		check_endpoint($world, @obligations);
	}
	return;
}

# The orderings that the webhook had from the commit of an event to its first arrival.
sub orderings_of
{
	my ($obligation) = @_;
	return join(' ', $obligation->{webhook}{ordering}->during($obligation->{event}{commit_from}, $obligation->{first_arrival}));
}

sub is_before
{
	my ($one, $other) = @_;
	my ($first, $second) = ($one->{event}, $other->{event});
	return 0 if $first->{number} >= $second->{number};
	return 0 if !$one->{is_first} && $one->{to} >= $second->{commit_from};
	return 1 if $first->{transaction} eq $second->{transaction};
	return $first->{captured_to} < $second->{captured_from} && $first->{commit_to} < $second->{written_from};
}

sub check_keys
{
	my ($world, @obligations) = @_;
	my %by_item;
	push @{ $by_item{ $_->{event}{item} } }, $_ foreach @obligations;
	foreach my $chain (values %by_item)
	{
		foreach my $later (grep { $_->{is_first} && defined $_->{first_arrival} } @$chain)
		{
			my $is_strict = orderings_of($later) !~ /relaxed/;
			foreach my $earlier (grep { $_->{is_sure} && is_before($_, $later) } @$chain)
			{
				complain($world, 'key', $earlier, $later) if $is_strict && $earlier->{done_at} > $later->{first_arrival};
				# Attempts of a receiver that is down leave no trace if the worker crashes. What was asked for again before
				# it was tried is due since then, and without an ordering has no other place.
				next if !$earlier->{is_first} || $world->{breaks} || !defined $earlier->{first_try};
				next if $earlier->{webhook}{asked}{ $earlier->{event}{name} };
				complain($world, 'first attempts', $earlier, $later) if $earlier->{first_try} > $later->{first_try};
			}
		}
	}
	return;
}

sub check_endpoint
{
	my ($world, @obligations) = @_;
	my @before;
	my $all_done_at = 0;
	foreach my $later (@obligations)
	{
		# Most come when all before them are done.
		if ($later->{is_first} && $all_done_at > ($later->{first_arrival} // 9e99) && orderings_of($later) eq 'endpoint')
		{
			foreach my $earlier (grep { $_->{done_at} > $later->{first_arrival} && is_before($_, $later) } @before)
			{
				complain($world, 'endpoint', $earlier, $later);
			}
		}
		next unless $later->{is_sure};
		push @before, $later;
		$all_done_at = max($all_done_at, $later->{done_at});
	}
	return;
}

# Attempts that overlap, of events that were to go one after the other. The times are the worker's own. A change of the
# ordering is in force for events that commit after it.
sub check_overlaps
{
	my ($world, $webhook, @names) = @_;
	my %by_key;
	foreach my $name (@names)
	{
		my $event = $world->{events}{$name};
		foreach my $row (grep { $_->{attempt} > 0 && !$_->{was_seen}++ } @{ $webhook->{log}{$name} })
		{
			my $attempt = { name => $name, from => $row->{at}, to => $row->{at} + $row->{duration_ms} / 1000 };
			my $orderings = join(' ', $webhook->{ordering}->during(min($event->{commit_from}, $attempt->{from}), $attempt->{to}));
			next if $orderings =~ /relaxed/;
			push @{ $by_key{ $event->{item} } }, $attempt;
			push @{ $by_key{all} }, $attempt if $orderings eq 'endpoint';
		}
	}
	foreach my $attempts (values %by_key)
	{
		my $before;
		foreach my $attempt (sort { $a->{from} <=> $b->{from} } @$attempts)
		{
			$world->violated(sprintf('webhook %d: attempts overlap: %s from %.6f to %.6f, %s from %.6f to %.6f',
					$webhook->{number}, @$before{qw(name from to)}, @$attempt{qw(name from to)}))
			  if $before && $before->{to} > $attempt->{from} + 0.001;
			$before = $attempt;
		}
	}
	return;
}

sub complain
{
	my ($world, $what, $earlier, $later) = @_;
	my $tell = sub {
		my ($obligation) = @_;
		my ($webhook, $name) = ($obligation->{webhook}, $obligation->{event}{name});
		return described($obligation)
		  . join('', map { sprintf(', came at %.6f (%d)', $_->{at}, $_->{status}) } @{ $webhook->{arrivals}{$name} // [] })
		  . join('', map { sprintf(', logged at %.6f (%d %s)', $_->{at}, $_->{attempt}, $_->{status}) } @{ $webhook->{log}{$name} // [] });
	};
	$world->violated("out of order ($what):\n      " . $tell->($earlier) . "\n      " . $tell->($later));
	return;
}

1;
