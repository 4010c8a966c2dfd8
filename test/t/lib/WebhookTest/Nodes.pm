# What the tests of several nodes with one set of webhooks have in common (docs/nodes.md, "Several nodes").
package WebhookTest::Nodes;

use strict;
use warnings;

use Exporter 'import';

use Test::More;
use WebhookTest;
use WebhookTest::Crash;

our @EXPORT = qw(await_rows new_member run_written refusal join_home is_settled_at_home row_counts);

# A server that can be a home or a node.
sub new_member
{
	my ($name, %settings) = @_;
	my $server = new_node(name => $name, wal_level => 'logical', wal_retrieve_retry_interval => '1s', max_wal_senders => 10,
		max_replication_slots => 10, max_logical_replication_workers => 10, max_worker_processes => 30, %settings);
	query($server, 'CREATE EXTENSION dblink');
	return $server;
}

# Runs the statements that a function returns, as \gexec does.
sub run_written
{
	my ($server, $call) = @_;
	query($server, $_) foreach split /\x01/, query($server, "SELECT string_agg(s, chr(1)) FROM $call s");
	return;
}

# The error of a statement, with its hint; empty if it succeeds.
sub refusal
{
	my ($server, $sql) = @_;
	my (undef, undef, $error) = $server->psql('postgres', $sql);
	return $error =~ s/^psql:<stdin>:\d+: //mgr =~ s/\nCONTEXT:.*//sr;
}

# Both sides of joining. The database has the node's name there.
sub join_home
{
	my ($home, $name, $server) = @_;
	run_written($server, "webhook_join_home('$name', " . sql_literal($home->connstr('postgres')) . ')');
	run_written($home, "webhook_attach_node('$name', " . sql_literal($server->connstr('postgres')) . ')');
	wait_until { query($home, "SELECT settled > 0 FROM webhook_internal.nodes WHERE name = '$name'") eq 't' } "$name has all webhooks";
	return;
}

# Whether a node has reported that all that the home had captured is settled.
sub is_settled_at_home
{
	my ($home, $name) = @_;
	return query($home, "SELECT NOT webhook_internal.is_behind('$name')") eq 't';
}

# Until a load has inserted so many more rows into the table things.
sub await_rows
{
	my ($home, $more) = @_;
	my $last = query($home, 'SELECT max(id) FROM things');
	wait_until { query($home, 'SELECT max(id) FROM things') >= $last + $more } 'more rows';
	return;
}

# { row => how often it was answered with 200 } of a receiver's path.
sub row_counts
{
	my ($receiver, $path) = @_;
	my @all = received_rows($receiver, $path);
	my @lines = grep { /"path":"\Q$path\E"/ } split /\n/, PostgreSQL::Test::Utils::slurp_file($receiver->record_file);
	return tally(map { $lines[$_] =~ /"status":200\b/ ? $all[$_][1] : () } 0 .. $#all);
}

1;
