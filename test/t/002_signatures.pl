# Receivers that use the npm packages standardwebhooks, svix and @octokit/webhooks-methods verify our requests.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $node = new_node();
my $receiver = start_receiver();

$node->safe_psql('postgres', q{
	CREATE TABLE notes (id int PRIMARY KEY, body text, amount numeric, at timestamptz, tags text[], extra json);
	SELECT webhook_watch('notes', 'note.created', organization_column => NULL);
});

my %secret_by_path = (
	'/ok?kind=standard' => 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
	'/ok?kind=generated' => $node->safe_psql('postgres', 'SELECT webhook_generate_secret()'),
	'/ok?kind=text' => 'a secret that is plain text: äöü',
	'/ok?kind=ascii' => 'correct horse battery',
	# It is base64, which says nothing.
	'/ok?kind=base64' => 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
	# A receiver that fails at first: a retry is signed anew, with its own timestamp.
	'/status/500/times/1?kind=retried' => 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD');
create_webhook(
	$node,
	url => $receiver->url($_),
	events => ['note.created'],
	secret => $secret_by_path{$_},
	organization_id => undef,
	retry_schedule => ['100 milliseconds']) foreach sort keys %secret_by_path;
create_webhook($node, url => $receiver->url('/ok?kind=none'), events => ['note.created'], organization_id => undef);

$node->safe_psql('postgres', q{
	INSERT INTO notes VALUES
		(1, 'plain', 1.50, '2024-02-29 12:00+02', '{a,b}', '{"b": 1, "a": [1.0, null]}'),
		(2, E'quotes " and \\\\ and line\nends\tand \x01', NULL, NULL, NULL, NULL),
		(3, 'Zoë, 日本, 🙂, <&>', 0, 'infinity', '{}', '"text"'),
		(4, repeat('long ', 20000), -1, NULL, NULL, NULL);
});

my ($code, $out, $err) = $node->psql('postgres',
	"INSERT INTO webhook_configurations (name, url, events, is_active, secret) VALUES ('x', 'https://example.com/', '{*}', false, 'Schlüsselwörter'); "
	  . "INSERT INTO webhook_configurations (name, url, events, is_active, secret) VALUES ('y', 'https://example.com/', '{*}', false, 'only ASCII here')");
is(() = $err =~ /WARNING:  the secret has characters beyond ASCII/g, 1, 'a secret beyond ASCII draws a warning, and no other does');
unlike($err, qr/Schl/, 'which does not show it');

my %expected = map { $_ => /times/ ? 8 : 4 } keys %secret_by_path, '/ok?kind=none';
foreach my $path (sort keys %expected)
{
	eventually { $receiver->count($path) >= $expected{$path} } "the requests to $path arrive";
}

foreach my $path (sort keys %secret_by_path)
{
	my ($output, $errors) =
	  run_command([ 'node', support_file('verify_signatures.mjs'), $receiver->record_file, $secret_by_path{$path}, $path ]);
	my $n = $expected{$path};
	is_deeply(
		eval { decode_json($output) } // "$output$errors",
		{
			requests => $n,
			standardwebhooks => $n,
			svix => $n,
			octokit => $n,
			openssl => $n,
			# What docs/wire-format.md says of the text alone.
			as_text => $secret_by_path{$path} =~ /^whsec_/ ? $n : 0,
			as_raw_text => $secret_by_path{$path} =~ /^whsec_|[^\x01-\x7f]/ ? 0 : $n,
			failures => []
		},
		"all verify the requests to $path");
}

# The check itself can fail.
my ($output) =
  run_command([ 'node', support_file('verify_signatures.mjs'), $receiver->record_file, 'another secret', '/ok?kind=text' ]);
my $summary = decode_json($output);
is_deeply(
	[ @$summary{qw(requests standardwebhooks svix octokit openssl as_text as_raw_text)} ],
	[ 4, 0, 0, 0, 0, 0, 0 ],
	'nobody verifies them with another secret');

my @signed = grep { $_->{headers}{'webhook-signature'} || $_->{headers}{'x-webhook-signature'} }
  $receiver->received('/ok?kind=none');
is_deeply(\@signed, [], 'without a secret there is no signature');

my @retried = $receiver->received('/status/500/times/1?kind=retried');
is_deeply(
	[ sort map { $_->{headers}{'x-webhook-attempt'} } @retried ],
	[ (1) x 4, (2) x 4 ],
	'a retry is attempt 2');
my %bodies;
$bodies{ $_->{webhook_id} }{ $_->{body} }++ foreach @retried;
is_deeply([ map { values %$_ } values %bodies ], [ (2) x 4 ], 'with the same webhook-id and the same body');

my ($zoe) = grep { $_->{data}{id} == 3 } $receiver->bodies('/ok?kind=text');
is($zoe->{data}{body}, "Zo\x{eb}, \x{65e5}\x{672c}, \x{1f642}, <&>", 'the body is UTF-8');

is_log_clean($node);
$node->stop;

done_testing();
