# The world that a round of the model runs in: a server, a receiver, sessions, and what is known of each.
#
# What must be delivered is known without the extension: a trigger of ours, in plpgsql, writes each change of a row into the
# table journal. It commits and rolls back with the change, as events must (P1). Each statement has a number, which the
# journal shows, so that a change is known to have been made, and committed, within an interval of time. Server, receiver and
# this process read the same clock.
package WebhookModel::World;

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);
use WebhookModel::Client;
use WebhookModel::Timeline;
use WebhookTest qw(new_node start_receiver wait_until);

our @orderings = qw(relaxed key endpoint);
our @organizations = qw(a b);

sub new
{
	my ($class, $seed) = @_;
	my $self = bless {
		seed => $seed,
		node => new_node(
			name => "model_$seed",
			'fsync' => 'off',    # processes crash here, not machines: what was written outlives them
			'max_prepared_transactions' => 10,
			'max_connections' => 50,
			'webhook.worker_memory' => '8MB',    # lanes overflow soon
			'webhook.shutdown_timeout' => '2s',
			'webhook.retry_schedule' => '100ms, 200ms, 200ms, 200ms',
			'webhook.idle_timeout' => $seed % 2 ? '200ms' : '5min'),    # workers of every second world come and go
		receiver => start_receiver(),
		statements => {},    # by number: transaction, until when it ran
		statement_count => 0,
		webhooks => [],
		by_id => {},
		crashes => [],    # when the worker's memory was lost, each [from, to]
		last_change => 0,    # numbers that tell changes apart
		last_item => 0,
		workers => 1,
		read_at => 0,    # when webhook_configurations was read last
		breaks => 0,    # how often connections may have been broken before an answer
	}, $class;
	$self->{trace_file} = $self->{node}->logfile =~ s/\.log$/.trace/r;
	$self->{admin} = WebhookModel::Client->new($self->{node}, 'admin');
	$self->{slots} = [ map { { client => WebhookModel::Client->new($self->{node}, "slot $_") } } 1 .. 4 ];
	$self->{prepared} = [];    # transactions
	$self->{bursts} = [];    # sessions that write beside everything else
	$self->{held} = undef;    # the transaction of an administrator, if one is open
	$self->_create_tables;
	return $self;
}

sub _create_tables
{
	my ($self) = @_;
	$self->ask(q{
		CREATE TABLE items (id bigint PRIMARY KEY, organization_id text, change bigint NOT NULL, n int NOT NULL, filler text);
		CREATE TABLE markers (id bigint);
		CREATE TABLE journal (
			number bigint GENERATED ALWAYS AS IDENTITY, statement bigint, xid xid8 DEFAULT pg_current_xact_id(),
			captured_at timestamptz DEFAULT clock_timestamp(),
			event text, change bigint, item bigint, organization_id text, n int, filler_length int);
		CREATE FUNCTION write_journal() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE
			changed items := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
		BEGIN
			INSERT INTO journal (statement, event, change, item, organization_id, n, filler_length)
			VALUES (current_setting('model.statement')::bigint,
				CASE TG_OP WHEN 'INSERT' THEN 'item.created' WHEN 'UPDATE' THEN 'item.updated' ELSE 'item.deleted' END,
				changed.change, changed.id, changed.organization_id, changed.n, length(changed.filler));
			RETURN NULL;
		END $$;
		CREATE TRIGGER a_journal AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION write_journal();
		SELECT webhook_watch('items', event) FROM unnest('{item.created,item.updated,item.deleted}'::text[]) event;
		SELECT webhook_watch('markers', 'marker.created', organization_column => NULL);
		INSERT INTO webhook_configurations (name, url, events, organization_id)
			VALUES ('marker', '} . $self->{receiver}->url('/ok?marker') . q{', '{marker.created}', NULL);
	});
	return;
}

# --- Statements -----------------------------------------------------------------------------------------------------

# What an administrator's query prints; the server must be up.
sub ask
{
	my ($self, $query) = @_;
	my $answer = $self->{admin}->run($query);
	# The first statement after a crash finds the connection gone.
	$answer = $self->{admin}->run($query) if $answer->{is_lost} && $self->wait_for_server;
	die "$query\n$answer->{text}\n" if $answer->{error} || $answer->{is_lost};
	return $answer->{text};
}

# The rows of a query as hashes.
sub ask_json
{
	my ($self, $query) = @_;
	return map { JSON::PP::decode_json($_) } split /\n/, $self->ask("WITH q AS MATERIALIZED ($query) SELECT to_json(q) FROM q");
}

# Runs statements that change items, in a transaction or, without one, in their own. Whether they ended well.
sub change
{
	my ($self, $client, $transaction, $statements) = @_;
	my $number = ++$self->{statement_count};
	my $own = $transaction // $self->new_transaction;
	my $statement = $self->{statements}{$number} = { transaction => $own };
	my $answer = $client->run("SET model.statement = $number;\n$statements");
	$statement->{to} = $answer->{to};
	$self->commit_known($own, $answer) unless $transaction;
	$self->trace("  $answer->{error}") if $answer->{error};
	return $answer;
}

sub new_transaction { my ($self) = @_; return { number => ++$self->{transaction_count}, items => {}, savepoints => [] }; }

# When it committed, if the journal shows that it did.
sub commit_known
{
	my ($self, $transaction, $answer) = @_;
	@$transaction{qw(commit_from commit_to)} = @$answer{qw(from to)};
	$transaction->{commit_to} = 9e99 if $answer->{is_lost};    # until the server has come back: lost() knows when
	push @{ $self->{unknown} }, $transaction if $answer->{is_lost};
	return;
}

sub new_change_numbers
{
	my ($self, $count) = @_;
	my $first = $self->{last_change} + 1;
	$self->{last_change} += $count;
	return $first;
}

sub new_items
{
	my ($self, $count) = @_;
	my $first = $self->{last_item} + 1;
	$self->{last_item} += $count;
	return $first;
}

# Those that no other open transaction has touched.
sub free_items
{
	my ($self, $client, $transaction, $organization) = @_;
	my @touched = map { $transaction && $_ == $transaction ? () : keys %{ $_->{items} } } $self->open_transactions;
	my $answer = $client->run("SELECT id FROM items WHERE organization_id = '$organization' AND id < 1000000
		AND id <> ALL ('{" . join(',', @touched) . "}') ORDER BY id");
	return $answer->{is_lost} || $answer->{error} ? () : split /\n/, $answer->{text};
}

sub open_transactions
{
	my ($self) = @_;
	return ((grep { defined } map { $_->{transaction} } @{ $self->{slots} }), @{ $self->{prepared} });
}

# --- The server comes and goes -------------------------------------------------------------------------------------------

sub wait_for_server
{
	my ($self) = @_;
	return wait_until { $self->{admin}->run('SELECT 1')->{text} eq '1' } 'the server';
}

# The server has ended all sessions: what they were about to commit is told by the database.
sub lost
{
	my ($self, $from) = @_;
	$self->wait_for_server;
	foreach my $client ($self->clients)
	{
		$client->wait if $client->is_busy;
		$client->close if $client->is_connected && $client->run('SELECT 1')->{is_lost};
	}
	$self->end_lost_transactions;
	push @{ $self->{crashes} }, [ $from, time() ];
	$self->read_webhooks($from);
	return;
}

sub clients
{
	my ($self) = @_;
	return ((map { $_->{client} } @{ $self->{slots} }), $self->{holder} // (), map { $_->{client} } @{ $self->{bursts} });
}

# After sessions have ended, by a crash or by pg_terminate_backend().
sub end_lost_transactions
{
	my ($self) = @_;
	my %prepared = map { $_ => 1 } split /\n/, $self->ask('SELECT gid FROM pg_prepared_xacts');
	my %known = map { $_->{gid} => 1 } @{ $self->{prepared} };
	foreach my $slot (@{ $self->{slots} })
	{
		next if $slot->{client}->is_connected;
		my $transaction = delete $slot->{transaction} or next;
		push @{ $self->{prepared} }, $transaction if $transaction->{gid} && $prepared{ $transaction->{gid} } && !$known{ $transaction->{gid} };
	}
	@{ $self->{prepared} } = grep { $prepared{ $_->{gid} } } @{ $self->{prepared} };
	$self->{held} = undef unless $self->{holder} && $self->{holder}->is_connected;
	$_->{commit_to} = time() foreach splice @{ $self->{unknown} //= [] };
	return;
}

# --- Webhooks -----------------------------------------------------------------------------------------------------------

sub new_webhook
{
	my ($self, $id, %columns) = @_;
	my $number = @{ $self->{webhooks} } + 1;
	my $webhook = {
		number => $number,
		id => $id,
		path => "/w$number",
		organization => $columns{organization_id},
		secrets => [],
		standing => WebhookModel::Timeline->new('none'),    # none, on, off or gone
		ordering => WebhookModel::Timeline->new($columns{ordering}),
		subscription => WebhookModel::Timeline->new($self->subscription($columns{events}, $columns{filter})),
	};
	push @{ $self->{webhooks} }, $webhook;
	$self->{by_id}{$id} = $webhook;
	$self->{receiver}->set($webhook->{path}, '/ok');
	return $webhook;
}

# What it takes of the events, as a text that matches() understands.
sub subscription
{
	my ($self, $events, $filter) = @_;
	return join(' ', @$events) . '|' . (($filter // '') =~ /(\d+)/ ? $1 : '');
}

sub matches
{
	my ($subscription, $event) = @_;
	my ($events, $least) = split /\|/, $subscription, 2;
	return 0 unless grep { $_ eq $event->{event} || $_ eq 'item.*' } split / /, $events;
	# A filter sees no more than 256 kB.
	return $least eq '' || $event->{n} >= $least && $event->{filler_length} < 100_000;
}

sub live_webhooks { my ($self) = @_; return grep { $_->{standing}->latest =~ /^(?:on|off)$/ } @{ $self->{webhooks} }; }

# Takes over what the table says. What has changed did so between these moments.
sub read_webhooks
{
	my ($self, $from) = @_;
	my $last = $self->{read_at};
	# A worker switches webhooks off that an endpoint wants nothing for any more.
	$from = $last if !defined $from || $self->{has_gone};
	$self->{read_at} = time();
	my %rows = map { $_->{id} => $_ } $self->ask_json('SELECT id, is_active, ordering, events, filter FROM webhook_configurations');
	my $to = time();
	foreach my $webhook (@{ $self->{webhooks} })
	{
		my $row = $rows{ $webhook->{id} };
		my $standing = !$row ? ($webhook->{standing}->latest eq 'none' ? 'none' : 'gone') : $row->{is_active} ? 'on' : 'off';
		my %now = (standing => $standing);
		@now{qw(ordering subscription)} = ($row->{ordering}, $self->subscription($row->{events}, $row->{filter})) if $row;
		foreach my $what (keys %now)
		{
			$webhook->{$what}->change($from, $to, $now{$what}) if $webhook->{$what}->latest ne $now{$what};
		}
	}
	return;
}

# --- What was asked for -------------------------------------------------------------------------------------------------

# Somebody has asked to send an event to a webhook again; the answer is that of his COMMIT.
sub expect_again
{
	my ($self, $webhook, $asked, $answer) = @_;
	my $name = "$asked->{event} $asked->{change}";
	++$webhook->{asked}{$name};
	push @{ $self->{obligations} }, {
		webhook => $webhook, event_name => $name, from => $answer->{from}, to => $answer->{to},
		is_sure => !$answer->{is_lost} && !$answer->{error} };
	return;
}

# What was pending for the webhook until then may have been given up.
sub cancelled
{
	my ($self, $webhook, $from, $to) = @_;
	push @{ $webhook->{cancels} }, { from => $from, to => $to };
	return;
}

# --- What is told -------------------------------------------------------------------------------------------------------

# Something does not hold.
sub violated { my ($self, $problem) = @_; push @{ $self->{violations} }, $problem; $self->trace("FAILED: $problem"); return; }

# The first of what does not hold.
sub violations
{
	my ($self) = @_;
	my @violations = @{ $self->{violations} // [] };
	my $count = @violations;
	return $count <= 10 ? @violations : (@violations[ 0 .. 9 ], "and @{[$count - 10]} more");
}

sub trace
{
	my ($self, $text) = @_;
	append_to_file($self->{trace_file}, sprintf("%.6f %s\n", time(), $text));
	return;
}

1;
