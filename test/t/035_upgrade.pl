# A cluster that pg_upgrade carries over goes on: nothing is sent meanwhile, nothing is paused afterwards, what was not
# delivered arrives, what is pending keeps its webhook-id, and a secret that is encrypted still signs. WEBHOOK_UPGRADE_BINDIR
# names the programs of another major to upgrade to; both need the extension's library.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Digest::SHA qw(hmac_sha256_hex);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookTest::Crash;

my $receiver = start_receiver();
my $key_file = PostgreSQL::Test::Utils::tempdir() . '/keys';
append_to_file($key_file, "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
chmod 0600, $key_file;
my $old = new_node(name => 'old', 'webhook.secret_key_file' => $key_file);
query($old, q{
	CREATE TABLE items (id bigint PRIMARY KEY);
	SELECT webhook_watch('items', 'item.created', organization_column => NULL);
});
my $path = '/gate';
$receiver->set($path, '/status/503');
create_webhook($old, url => $receiver->url($path), events => ['item.created'], organization_id => undef,
	secret => 'kept by pg_upgrade', retry_schedule => [ ('10 seconds') x 20 ]);
query($old, 'INSERT INTO items SELECT generate_series(1, 3)');
eventually { query($old, 'SELECT count(*) FROM webhook_deliveries WHERE attempts > 0') == 3 } 'three deliveries are pending';
my $reveal = 'SELECT webhook_reveal_secret(id) FROM webhook_configurations';
my $stored = 'SELECT key_id, secret FROM webhook_secrets';
my $sealed = query($old, $stored);
like($sealed, qr/^k1\|v1\./, 'the secret is encrypted');
my $is_paused = q{SELECT is_paused FROM webhook_instance};

# The undelivered: captured while deliveries are off.
$old->append_conf('postgresql.conf', 'webhook.enabled = off');
$old->restart;
query($old, 'INSERT INTO items SELECT generate_series(4, 10)');
my $instance = query($old, 'SELECT instance FROM webhook_instance');
$old->stop;
my $count_before = $receiver->count;
my %webhook_id_of = map { $_->[1] => $_->[0] } received_rows($receiver, $path);

my $new_bindir = $ENV{WEBHOOK_UPGRADE_BINDIR};
my %install = defined $new_bindir ? (install_path => $new_bindir =~ s{/bin/?\z}{}r) : ();
my $new = PostgreSQL::Test::Cluster->new('new', %install);
# Checksums as the old cluster has them: the majors differ in their default.
my ($checksums) = run_command([ 'pg_controldata', $old->data_dir ]) =~ /checksum version:\s+(\d+)/;
my @no_checksums = defined $new_bindir && !$checksums && $new->pg_version >= 18 ? ('--no-data-checksums') : ();
$new->init(extra => [ '--encoding=UTF8', '--locale=C', @no_checksums ]);
# The receiver would take what the servers of pg_upgrade sent: deliveries are on.
my $settings = join("\n", "shared_preload_libraries = 'webhook'", "webhook.allow_http = on",
	"webhook.allowed_networks = '127.0.0.0/8'", "webhook.secret_key_file = '$key_file'", 'webhook.enabled = on', '');
$_->append_conf('postgresql.conf', $settings) foreach $old, $new;
$receiver->set($path, '/ok');

my $old_bindir = $old->config_data('--bindir');
chomp $old_bindir;
$new_bindir //= $old_bindir;
chdir $PostgreSQL::Test::Utils::tmp_check or BAIL_OUT("chdir: $!");
ok( $new->run_log([
		"$new_bindir/pg_upgrade", '--no-sync',
		'-d', $old->data_dir, '-D', $new->data_dir, '-b', $old_bindir, '-B', $new_bindir,
		'-s', $new->host, '-p', $old->port, '-P', $new->port ]),
	'pg_upgrade succeeds');
is($receiver->count, $count_before, 'nothing is sent meanwhile');

$new->start;
# Three that were pending and seven that were never sent.
eventually { query($new, q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}) == 10 } 'everything arrives';
is(query($new, $is_paused), 'f', 'deliveries are not paused');
is(query($new, 'SELECT instance FROM webhook_instance'), $instance, 'it is the same instance');
is(query($new, $stored), $sealed, 'the secret is stored as it was');
is(query($new, $reveal), 'kept by pg_upgrade', 'and can be decrypted');
my $unsigned = grep { $_->{headers}{'x-webhook-signature'} ne 'sha256=' . hmac_sha256_hex($_->{body}, 'kept by pg_upgrade') }
  $receiver->received($path);
is($unsigned, 0, 'all that was sent is signed by it');
my @rows = received_rows($receiver, $path);
my @after = @rows[ $count_before .. $#rows ];
is(join(' ', sort { $a <=> $b } map { $_->[1] } @after), join(' ', 1 .. 10), 'each once');
my %after = map { $_->[1] => $_->[0] } @after;
is($after{$_}, $webhook_id_of{$_}, "delivery $_ keeps its webhook-id") foreach 1 .. 3;
query($new, 'INSERT INTO items VALUES (11)');
eventually { $receiver->count == $count_before + 11 } 'and what is new';
is_log_clean($new);
$new->stop;

done_testing();
