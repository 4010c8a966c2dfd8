# From a database in LATIN1, and whatever a session sets, to the received body: UTF-8, and the same bytes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Encode ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

# Else psql takes what it is given for text in the encoding of the database.
$ENV{PGCLIENTENCODING} = 'UTF8';

my $receiver = start_receiver();
my $node = new_node();

my %odd_settings = (
	TimeZone => 'Asia/Kolkata', DateStyle => 'German, DMY', IntervalStyle => 'iso_8601',
	bytea_output => 'escape', extra_float_digits => -5);
my $things = q{
	CREATE TABLE things (name text, at timestamptz, day date, span interval, bytes bytea, number float8);
	SELECT webhook_watch('things', 'thing.created', organization_column => NULL, key_columns => '{name}')};
my $insert = q{INSERT INTO things VALUES
	(U&'Zo\00EB \00DF', '2024-01-15 10:30:00.123456+00', '2024-01-15', '1 day 02:03:04.5', '\xe9005c', 0.1::float8 + 0.2::float8)};

foreach my $encoding (qw(LATIN1 UTF8))
{
	my $dbname = lc $encoding;
	$node->safe_psql('postgres', "CREATE DATABASE $dbname ENCODING $encoding TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($dbname, "CREATE EXTENSION webhook; $things");
	# The receiver answers with what LATIN1 has, what it has not, and what is no UTF-8.
	create_webhook(
		$node, dbname => $dbname, name => "caf\xc3\xa9", url => $receiver->url("/body/%C3%A9%E2%82%AC%FF?$dbname"),
		events => ['thing.created'], organization_id => undef, secret => "clef secr\xc3\xa8te");
	$node->safe_psql($dbname, $insert);
	$node->safe_psql($dbname, join('', map { "SET $_ = '$odd_settings{$_}';" } sort keys %odd_settings) . $insert);
	foreach my $setting (sort keys %odd_settings)
	{
		$node->safe_psql($dbname, "SET $setting = '$odd_settings{$setting}'; $insert");
	}
	$node->safe_psql($dbname, "SET client_encoding = LATIN1; $insert");
	eventually { $receiver->count("/body/%C3%A9%E2%82%AC%FF?$dbname") >= 8 } "what happens in $encoding arrives";
}

my (%bodies, @texts);
foreach my $request ($receiver->received)
{
	my $text = eval { Encode::decode('UTF-8', my $bytes = $request->{body}, Encode::FB_CROAK) };
	push @texts, $text if defined $text;
	$bodies{ $request->{body} =~ s/"timestamp":"[^"]*"/"timestamp":""/r }++;
}
is(scalar(@texts), 16, 'every body is UTF-8');
is_deeply([ values %bodies ], [16], 'and the same to the byte, whatever the encoding and the settings')
  or diag(join("\n", sort keys %bodies));
is(decode_json((keys %bodies)[0])->{data}{name}, "Zo\x{eb} \x{df}", 'with the letters that were stored');

foreach my $dbname (qw(latin1 utf8))
{
	eventually { $node->safe_psql($dbname, q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}) == 8 }
	"$dbname: each is logged";
	my $expected = $dbname eq 'utf8' ? "\xc3\xa9\xe2\x82\xac\xef\xbf\xbd" : "\xc3\xa9??";
	is($node->safe_psql($dbname, 'SET client_encoding = UTF8; SELECT DISTINCT response_body FROM webhook_logs'), $expected,
		'with the response, as far as the database can hold it');
	my $path = "/body/%C3%A9%E2%82%AC%FF?$dbname";
	my ($output, $errors) = run_command(
		[ 'node', support_file('verify_signatures.mjs'), $receiver->record_file, "clef secr\xc3\xa8te", $path ]);
	my $verified = eval { decode_json($output) } // { failures => ["$output$errors"] };
	my %expected = (requests => 8, standardwebhooks => 8, svix => 8, octokit => 8, openssl => 8, failures => []);
	is_deeply({ map { $_ => $verified->{$_} } keys %expected }, \%expected, 'and signed by the UTF-8 of the secret');
}

# --- Organizations whose ids UTF-8 lacks -----------------------------------------------------------------------------------

# Each gets its own events, also when they are sent again, and no others.
my %lacking = (SQL_ASCII => [ 'e4', 'e5', 'c3a4' ], WIN1252 => [ '81', '8d', 'e4' ]);
foreach my $encoding (sort keys %lacking)
{
	my $dbname = lc $encoding;
	$node->safe_psql('postgres', "CREATE DATABASE $dbname ENCODING $encoding TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($dbname, q{CREATE EXTENSION webhook; CREATE TABLE things (id bigserial PRIMARY KEY, organization_id text);
		SELECT webhook_watch('things', 'thing.created')});
	my %path;
	foreach my $bytes (@{ $lacking{$encoding} })
	{
		my $organization = "'o' || convert_from('\\x$bytes'::bytea, '$encoding')";
		$path{$bytes} = "/times/1/status/503?$dbname-$bytes";
		$node->safe_psql($dbname, qq{INSERT INTO webhook_configurations (name, organization_id, url, events, retry_schedule)
			VALUES ('hook', $organization, '@{[ $receiver->url($path{$bytes}) ]}', '{thing.created,webhook.*}', '{1s,1s,1s}')});
	}
	foreach my $bytes (@{ $lacking{$encoding} })
	{
		$node->safe_psql($dbname, "INSERT INTO things (organization_id) SELECT 'o' || convert_from('\\x$bytes'::bytea, '$encoding') FROM generate_series(1, 3)");
	}
	foreach my $n (0 .. 2)
	{
		my $path = $path{ $lacking{$encoding}[$n] };
		eventually { $receiver->count($path) == 6 } "$path: events of the organization come, and once more after a failure";
		my %ids = map { $_->{data}{id} => 1 } $receiver->bodies($path);
		is(join(' ', sort keys %ids), join(' ', 3 * $n + 1 .. 3 * $n + 3), 'and those of no other');
	}
	eventually { $node->safe_psql($dbname, q{SELECT count(*) FROM webhook_deliveries}) == 0 } "$encoding: nothing is left pending";
	is($node->safe_psql($dbname, q{SELECT count(*), count(DISTINCT encode(convert_to(l.organization_id, getdatabaseencoding()), 'hex'))
		FROM webhook_logs l JOIN webhook_configurations c ON c.id = l.configuration_id AND c.organization_id = l.organization_id}), '18|3',
		'the log has the organizations as they are');

	# What the worker itself reports finds its organization, too.
	foreach my $bytes (@{ $lacking{$encoding} })
	{
		my $organization = "'o' || convert_from('\\x$bytes'::bytea, '$encoding')";
		my $told = "/ok?told-$dbname-$bytes";
		$node->safe_psql($dbname, qq{INSERT INTO webhook_configurations (name, organization_id, url, events)
			VALUES ('gone', $organization, '@{[ $receiver->url('/status/410') ]}', '{thing.created}'),
				('told', $organization, '@{[ $receiver->url($told) ]}', '{webhook.disabled}');
			INSERT INTO things (organization_id) VALUES ($organization)});
		eventually { $receiver->count($told) == 1 } "$encoding, $bytes: an organization hears that a webhook of it was switched off";
	}
}

is_log_clean($node);
$node->stop;

done_testing();
