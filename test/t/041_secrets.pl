# Secrets: encrypted at rest while webhook.secret_key_file names keys, never sent without, and nowhere to be seen: not in
# the server log at its most verbose, not in pg_stat_activity, not in a dump.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use MIME::Base64 qw(encode_base64 decode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $receiver = start_receiver();
my $key_file = PostgreSQL::Test::Utils::tempdir() . '/webhook.keys';

# Writes the file as one should: the server never sees half of it.
sub write_keys
{
	my ($text, $mode) = @_;
	open(my $file, '>', "$key_file.new") or die $!;
	print $file $text;
	close($file);
	chmod($mode // 0600, "$key_file.new") or die $!;
	rename("$key_file.new", $key_file) or die $!;
	return;
}

sub key { my ($byte) = @_; return encode_base64(chr($byte) x 32, ''); }

# All that can be logged, but for the user's own statements: those are the user's to keep out of the log, and this test
# sends its secrets as parameters of none.
my $node = new_node(
	log_min_messages => 'debug5',
	log_min_error_statement => 'panic',
	log_error_verbosity => 'verbose',
	log_parameter_max_length_on_error => '-1',
	debug_print_plan => 'on',
	log_duration => 'on');

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

sql(q{
	CREATE TABLE contacts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
	SELECT webhook_watch('contacts', 'contact.created', organization_column => NULL);
});

# The secret is made by the server, so that no statement holds it.
sub create_signed
{
	my ($path) = @_;
	return sql("INSERT INTO webhook_configurations (name, url, events, secret, retry_schedule) "
		  . "VALUES ('$path', '@{[$receiver->url($path)]}', '{*}', webhook_generate_secret(), '{100ms}') RETURNING id");
}

sub reveal { my ($id) = @_; return sql("SELECT webhook_reveal_secret('$id')"); }
sub stored { my ($id) = @_; return sql("SELECT coalesce(key_id, 'clear'), secret FROM webhook_secrets WHERE configuration_id = '$id' AND expires_at IS NULL"); }
sub check { my ($id) = @_; return sql("SELECT severity, finding FROM webhook_check('$id') WHERE finding LIKE '%secret%'"); }
sub insert_contact { my ($name) = @_; return sql("INSERT INTO contacts (name) VALUES ('$name')"); }

sub is_signed
{
	my ($request, $secret) = @_;
	my ($id, $time, $signature) = @{ $request->{headers} }{qw(webhook-id webhook-timestamp webhook-signature)};
	return defined $signature
	  && sql("SELECT webhook_verify('$id', '$time', \$b\$$request->{body}\$b\$, '$signature', '$secret')") eq 't';
}

# What has ever been a secret here. Only asked for, and not written into a statement, before the log is searched.
my %secrets;
my $first = create_signed('/ok?first');
my $secret = reveal($first);
$secrets{$secret} = 1;
insert_contact('clear');
eventually { $receiver->count('/ok?first') == 1 } 'an event is sent';
is(stored($first), "clear|$secret", 'without the setting, secrets stand as they are');

# --- switching it on ---

write_keys("# first\nk1 " . key(1) . "\n");
sql("ALTER SYSTEM SET webhook.secret_key_file = '$key_file'");
$node->reload;
eventually { stored($first) =~ /^k1\|v1\./ } 'a reload encrypts what is there';
is(reveal($first), $secret, 'it can still be revealed');
my $second = create_signed('/ok?second');
like(stored($second), qr/^k1\|v1\./, 'and what is new is encrypted at once');
$secrets{ reveal($second) } = 1;
insert_contact('encrypted');
eventually { $receiver->count('/ok?first') == 2 && $receiver->count('/ok?second') == 1 } 'both are sent';
is(check($first), '', 'webhook_check() finds nothing wrong with a secret that can be decrypted');

# Writing the mask or the same secret back changes nothing; another one does.
my $before = stored($second);
sql("UPDATE webhook_configurations SET secret = secret WHERE id = '$second'");
is(stored($second), $before, 'writing the mask back changes nothing');
sql("UPDATE webhook_configurations SET secret = webhook_reveal_secret(id) WHERE id = '$second'");
is(stored($second), $before, 'nor does writing the secret back');
sql("INSERT INTO webhook_configurations (name, url, events, secret) "
	  . "SELECT name, url, events, webhook_generate_secret() FROM webhook_configurations WHERE id = '$second' "
	  . "ON CONFLICT (organization_id, name) DO UPDATE SET secret = EXCLUDED.secret");
isnt(stored($second), $before, 'an upsert gives it another one');
like(stored($second), qr/^k1\|v1\./, 'which is encrypted');
my $fresh = reveal($second);
$secrets{$fresh} = 1;
$secrets{ sql("SELECT webhook_rotate_secret('$second')") } = 1;
is(sql("SELECT count(*) FROM webhook_secrets WHERE key_id IS DISTINCT FROM 'k1'"), 0,
	'so are both while it rotates');
is(sql("SELECT count(*) FROM webhook_secrets WHERE expires_at = '-infinity'"), 0, 'nothing stays staged');

# A tenant's webhook, which is told about its own only. It wants nothing that happens here.
my $tenants = sql("INSERT INTO webhook_configurations (organization_id, name, url, events, secret) "
	  . "VALUES ('acme', 'tenant', 'https://example.com/', '{deal.created}', webhook_generate_secret()) RETURNING id");
$secrets{ reveal($tenants) } = 1;
sql(q{CREATE ROLE reader; SELECT webhook_grant('reader', 'read')});
sub checked_by_tenant
{
	my ($organization, $call) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "SET ROLE reader; SET webhook.organization_id = '$organization'; SELECT $call");
	return $code == 0 ? $out : $err;
}
my $finding = 'the secret cannot be decrypted:';

# --- another key ---

write_keys("k2 " . key(2) . "\nk1 " . key(1) . "\n");
$node->reload;
eventually { sql("SELECT count(*) FROM webhook_secrets WHERE key_id = 'k2'") == 4 } 'a new first key encrypts all anew';
write_keys("k2 " . key(2) . "\n");
$node->reload;
insert_contact('another key');
eventually { $receiver->count('/ok?first') == 3 } 'without the old key they are signed still';
is(reveal($first), $secret, 'it is the secret that it was');

# --- a dump ---

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
my $dumped = slurp_file($dump);
like($dumped, qr/\tk2\tv1\./, 'a dump has the encrypted secrets');
ok(!grep({ index($dumped, $_) >= 0 || index($dumped, substr($_, 6)) >= 0 } keys %secrets), 'and none in clear text');

# --- without the key ---

my $log_from = -s $node->logfile;
write_keys("k3 " . key(3) . "\n");
$node->reload;
wait_until { slurp_file($node->logfile, $log_from) =~ /key "k2" is not in webhook\.secret_key_file/ } 'the worker looks';
my $sent = $receiver->count;
insert_contact('withheld');
eventually { sql("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND last_error = "
	  . q{'the secret cannot be decrypted: key "k2" is not in webhook.secret_key_file'}) == 2 }
	'without its key, what is due to a webhook is pending, and says why';
my $unsigned = sql("INSERT INTO webhook_configurations (name, url, events) "
	  . "VALUES ('unsigned', '@{[$receiver->url('/ok?unsigned')]}', '{*}') RETURNING id");
insert_contact('unsigned');
eventually { $receiver->count('/ok?unsigned') == 1 } 'webhooks without a secret go on';
is($receiver->count, $sent + 1, 'and nothing else was sent, least of all unsigned');
my ($code, $out, $err) = $node->psql('postgres', "SELECT webhook_reveal_secret('$first')");
like($err, qr/the secret cannot be decrypted: key "k2" is not in webhook\.secret_key_file/, 'it is not revealed either');
is(check($first), qq(error|$finding key "k2" is not in webhook.secret_key_file), 'webhook_check() says why');
is(check($second), check($first), 'of each webhook');
is(check($unsigned), '', 'but not of one without a secret');
my $own_check = "finding FROM webhook_check('$tenants') WHERE severity = 'error' AND finding LIKE '%secret%'";
is(checked_by_tenant('acme', $own_check), qq($finding key "k2" is not in webhook.secret_key_file), 'it tells the tenant, too');
like(checked_by_tenant('globex', $own_check), qr/does not exist, or belongs to another organization/, 'another is not told');
is(checked_by_tenant('globex', "coalesce(webhook_internal.check_secrets_tenant('$tenants'), 'nothing')"), 'nothing', 'nor round the corner');
like(checked_by_tenant('acme', "webhook_internal.check_secrets_operator('$tenants')"), qr/permission denied for function/, 'nor directly');
sql("DELETE FROM webhook_configurations WHERE id = '$unsigned'");

# A file that others may read is not used, and nothing is stored in clear text instead.
write_keys("k2 " . key(2) . "\n", 0644);
$node->reload;
($code, $out, $err) = $node->psql('postgres',
	"INSERT INTO webhook_configurations (name, url, events, secret) "
	  . "VALUES ('none', 'https://example.com/', '{*}', webhook_generate_secret())");
like($err, qr/webhook\.secret_key_file cannot be used: it must be owned by the server's user and have the mode 0600/,
	'a file that others may read is refused');
like(check($first), qr/^error\|$finding webhook\.secret_key_file cannot be used: it must be owned by the server's user/,
	'webhook_check() says so');
unlink $key_file;
like(check($first), qr/^error\|$finding webhook\.secret_key_file cannot be used: it cannot be opened: No such file/,
	'and if the file is not there');
($code, $out, $err) = $node->psql('postgres', "SELECT webhook_rotate_secret('$first')");
like($err, qr/webhook\.secret_key_file cannot be used: it cannot be opened: No such file/, 'and so is one that is not there');

# --- the key is back ---

write_keys("k3 " . key(3) . "\nk2 " . key(2) . "\n");
$node->reload;
eventually { $receiver->count('/ok?first') == 5 && $receiver->count('/ok?second') == 5 - 1 }
	'with the key back, all that was pending is sent' or diag($receiver->count('/ok?first'), ' ', $receiver->count('/ok?second'));
eventually { sql('SELECT count(*) FROM webhook_deliveries') == 0 } 'and nothing is pending any more';
is(check($first), '', 'webhook_check() finds nothing wrong any more');
eventually { sql("SELECT count(*) FROM webhook_secrets WHERE key_id = 'k3'") == 4 } 'and encrypted by the new key';

# --- a mask without a secret, as after a restore that brings the webhooks alone ---

my $second_sent = $receiver->count('/ok?second');
sql("DELETE FROM webhook_secrets WHERE configuration_id = '$second'");
insert_contact('masked');
eventually { sql("SELECT count(*) FROM webhook_deliveries WHERE configuration_id = '$second' AND state = 'pending' "
	  . "AND last_error = 'it shows the mask of a secret, but it has none'") == 1 }
	'what is due to a webhook that shows a mask and has no secret is pending, and says why';
is(check($second), 'error|it shows the mask of a secret, but it has none', 'webhook_check() says why');
($code, $out, $err) = $node->psql('postgres', "SELECT * FROM webhook_test('$second')");
like($err, qr/it shows the mask of a secret, but it has none/, 'a test is not sent either');
eventually { $receiver->count('/ok?first') == 6 } 'others go on';
is($receiver->count('/ok?second'), $second_sent, 'nothing was sent unsigned');
$secrets{ sql("SELECT webhook_rotate_secret('$second', '0')") } = 1;
eventually { $receiver->count('/ok?second') == $second_sent + 1 } 'with a secret, what was pending is sent';
is(check($second), '', 'and webhook_check() is content');

# --- nowhere to be seen ---

my $log = slurp_file($node->logfile);
my $activity = sql('SELECT string_agg(query, E\'\n\') FROM pg_stat_activity') . sql('SELECT string_agg(l::text, E\'\n\') FROM webhook_logs l');
sub leaks_of
{
	my ($text) = @_;
	my @leaks;
	foreach my $known (keys %secrets)
	{
		my $key = decode_base64(substr($known, 6));
		my %forms = (
			text => $known,
			base64 => substr($known, 6),
			'base64 of the text' => substr(encode_base64($known, ''), 0, -4),
			'hex of the text' => unpack('H*', $known),
			'hex of the key' => unpack('H*', $key),
			# as debug_print_plan shows a constant
			'bytes of the text' => join(' ', map { ord } split //, $known));
		push @leaks, grep { index(lc $text, lc $forms{$_}) >= 0 } sort keys %forms;
	}
	foreach my $byte (1, 2, 3)
	{
		push @leaks, "key $byte" if index($text, key($byte)) >= 0;
	}
	return join(', ', @leaks);
}
cmp_ok(length $log, '>', 100_000, 'the log is verbose');
is(leaks_of($log), '', 'no secret is in the log');
is(leaks_of($activity), '', 'nor in pg_stat_activity, nor in webhook_logs');

# All that were sent are signed. Last, for these statements hold the secret.
my @requests = $receiver->received('/ok?first');
is(scalar(grep { is_signed($_, $secret) } @requests), 6, 'each request was signed');

$node->stop;

done_testing();
