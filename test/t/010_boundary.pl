# The boundary between C++ and PostgreSQL (src/pg/guard.h), by the functions of test/boundary: errors of PostgreSQL unwind
# C++ frames, C++ exceptions become ordinary errors, and the session goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $module = $ENV{WEBHOOK_BOUNDARY_MODULE};
BAIL_OUT('WEBHOOK_BOUNDARY_MODULE does not name the module that make -C test/boundary builds; dev/test sets it')
  unless defined $module && -e $module;

# Without the extension: its own callbacks and workers would only blur what is looked at here.
my $node = new_node(preload => 0, extension => 0, 'log_error_verbosity' => 'verbose');

sub create_function
{
	my ($signature, $result) = @_;
	my ($name) = $signature =~ /^(\w+)/;
	$node->safe_psql('postgres',
		"CREATE FUNCTION $signature RETURNS $result LANGUAGE C AS " . sql_literal($module) . ", '$name'");
	return;
}

create_function('witnesses_alive()', 'integer');
create_function('witnesses_made()', 'integer');
create_function('raise_guarded(sqlstate text, message text, detail text, hint text)', 'void');
create_function('throw_plainly(kind text, message text)', 'void');
create_function('throw_guarded(kind text, message text)', 'void');
create_function('handlers_after(kind text)', 'boolean');
create_function('descend(levels integer)', 'void');
create_function('run_guarded_sql(statement text)', 'void');
create_function('heap_growth_of_errors(errors integer)', 'bigint');

# What the client of a session hears that runs the statement and then looks whether all is well: the output with the
# objects of C++ that are left and that were made, and the error messages.
sub after
{
	my ($statement) = @_;
	my ($status, $stdout, $stderr) = $node->psql(
		'postgres',
		"$statement;\nSELECT 'alive ' || witnesses_alive(), 'made ' || witnesses_made();",
		on_error_stop => 0,
		extra_params => [ '--set', 'VERBOSITY=verbose' ]);
	return ($stdout, $stderr);
}

# The error's fields as a hash: sqlstate, message, detail, hint. Fails if there is another message beside it.
sub fields
{
	my ($stderr) = @_;
	my %fields;
	@fields{qw(sqlstate message)} = ($1, $2) if $stderr =~ /^(?:psql:[^\n]*?:\s*)?ERROR:\s+(\w{5}): (.*)$/m;
	$fields{detail} = $1 if $stderr =~ /^DETAIL:\s+(.*)$/m;
	$fields{hint} = $1 if $stderr =~ /^HINT:\s+(.*)$/m;
	$fields{others} = "more than one message: $stderr" if (() = $stderr =~ /(?:ERROR|FATAL|PANIC|WARNING):/g) > 1;
	return \%fields;
}

# --- an error of PostgreSQL's ---

my ($stdout, $stderr) = after(q{SELECT raise_guarded('23505', 'the message', 'the detail', 'the hint')});
is_deeply(
	fields($stderr),
	{ sqlstate => '23505', message => 'the message', detail => 'the detail', hint => 'the hint' },
	'an error in a guarded call keeps SQLSTATE, message, detail and hint');
is($stdout, 'alive 0|made 10', 'and runs the destructors of all C++ frames above it');

($stdout, $stderr) = after(q{SELECT raise_guarded('55P03', 'only a message', '', '')});
is_deeply(fields($stderr), { sqlstate => '55P03', message => 'only a message' }, 'no detail and no hint stay none');

# Whole characters: the message holds 2047 bytes, the hint 1023.
($stdout, $stderr) = after(q{SELECT raise_guarded('22000', repeat('€', 3000), repeat('x', 1) || repeat('ä', 3000), repeat('😀', 3000))});
is_deeply(
	fields($stderr),
	{
		sqlstate => '22000',
		message => '€' x 682,
		detail => 'x' . 'ä' x 1023,
		hint => '😀' x 255
	},
	'long texts are cut between two characters');

# --- where an error comes from ---
#
# What a client is told of each kind of violation, and what it is told when the same statement runs below C++.

$node->safe_psql('postgres', q{
	CREATE SCHEMA origins;
	SET search_path TO origins, public;
	CREATE DOMAIN positive AS integer CONSTRAINT more_than_nothing CHECK (VALUE > 0);
	CREATE DOMAIN present AS text NOT NULL;
	CREATE TABLE parents (id integer CONSTRAINT parents_key PRIMARY KEY);
	CREATE TABLE children (
		id integer CONSTRAINT children_key PRIMARY KEY,
		parent integer CONSTRAINT of_a_parent REFERENCES parents,
		name text NOT NULL,
		small integer CONSTRAINT is_small CHECK (small < 10),
		span int4range, CONSTRAINT no_overlap EXCLUDE USING gist (span WITH &&));
	INSERT INTO children VALUES (1, NULL, 'first', 1, '[1,5)');
	CREATE FUNCTION fail_with_all() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION 'all' USING ERRCODE = 'P0042', DETAIL = 'a detail', HINT = 'a hint', SCHEMA = 'a schema',
			TABLE = 'a table', COLUMN = 'a column', DATATYPE = 'a type', CONSTRAINT = 'a constraint';
	END $$;
	CREATE FUNCTION diagnostics(statement text) RETURNS text[] LANGUAGE plpgsql AS $$
	DECLARE
		state text; message text; detail text; hint text; sch text; tab text; col text; typ text; con text;
	BEGIN
		EXECUTE statement;
		RETURN NULL;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
			hint = PG_EXCEPTION_HINT, sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, typ = PG_DATATYPE_NAME,
			con = CONSTRAINT_NAME;
		RETURN ARRAY[state, message, detail, hint, sch, tab, col, typ, con];
	END $$;
});
foreach my $statement (
	q{SELECT origins.fail_with_all()},
	q{INSERT INTO origins.children VALUES (1, NULL, 'again')},
	q{INSERT INTO origins.children VALUES (2, 7, 'orphan')},
	q{INSERT INTO origins.children VALUES (3, NULL, NULL)},
	q{INSERT INTO origins.children VALUES (4, NULL, 'large', 10)},
	q{INSERT INTO origins.children VALUES (5, NULL, 'beside', 1, '[4,6)')},
	q{SELECT 0::origins.positive},
	q{SELECT NULL::origins.present})
{
	my $literal = sql_literal($statement);
	my $plain = $node->safe_psql('postgres', "SELECT origins.diagnostics($literal)");
	my $below = $node->safe_psql('postgres', "SELECT origins.diagnostics('SELECT run_guarded_sql(' || quote_literal($literal) || ')')");
	isnt($plain, '', "$statement fails");
	is($below, $plain, 'and says the same of its schema, table, column, type and constraint below C++');
}

# The lines that PostgreSQL adds on its way up, each once.
sub context
{
	my ($statement) = @_;
	my (undef, $output) = after($statement);
	return [ grep { !/^(?:SCHEMA NAME|LOCATION):/ } map { s/^CONTEXT:\s+//r } grep { /^CONTEXT:/ .. /^(?:SCHEMA NAME|LOCATION):/ } split /\n/, $output ];
}
is_deeply(
	context(q{DO $do$BEGIN PERFORM run_guarded_sql('SELECT origins.fail_with_all()'); END$do$}),
	[
		'PL/pgSQL function origins.fail_with_all() line 3 at RAISE',
		'SQL statement "SELECT origins.fail_with_all()"',
		q{SQL statement "SELECT run_guarded_sql('SELECT origins.fail_with_all()')"},
		'PL/pgSQL function inline_code_block line 1 at PERFORM'
	],
	'an error keeps its context, each line of it once');
is_deeply(
	context(q{DO $do$BEGIN PERFORM throw_guarded('error', 'thrown'); END$do$}),
	[ q{SQL statement "SELECT throw_guarded('error', 'thrown')"}, 'PL/pgSQL function inline_code_block line 1 at PERFORM' ],
	'an exception of C++ gets that of the statement');
($stdout, $stderr) = after(q{DO $do$BEGIN PERFORM run_guarded_sql('SELECT 1 / 0'); EXCEPTION WHEN division_by_zero THEN PERFORM throw_plainly('error', 'next'); END$do$});
like($stderr, qr/ERROR:  22023: next.*^CONTEXT:.*throw_plainly/ms, 'and so does one after an error that was caught');

# --- C++ exceptions, outside and inside a guarded body ---

my %expected = (
	runtime_error => { sqlstate => 'XX000', message => 'thrown' },
	nested => { sqlstate => 'XX000', message => 'thrown' },
	int => { sqlstate => 'XX000', message => 'unknown C++ exception in the webhook extension' },
	bad_alloc => {
		sqlstate => '53200',
		message => 'out of memory',
		detail => 'Allocation failed in the webhook extension.'
	},
	error => { sqlstate => '22023', message => 'thrown', detail => 'thrown', hint => 'thrown' });
foreach my $function (qw(throw_plainly throw_guarded))
{
	foreach my $kind (sort keys %expected)
	{
		($stdout, $stderr) = after("SELECT $function('$kind', 'thrown')");
		is_deeply(fields($stderr), $expected{$kind}, "$function: $kind becomes an ordinary error");
		is($stdout, 'alive 0|made 2', 'the frames are unwound and the session goes on');
	}
}
foreach my $kind (sort keys %expected)
{
	is($node->safe_psql('postgres', "SELECT handlers_after('$kind')"),
		't', "$kind: PostgreSQL's error handlers are put back when it leaves a guarded body");
}
($stdout, $stderr) = after(q{SELECT throw_plainly('runtime_error', repeat('ä', 5000))});
is(fields($stderr)->{message}, 'ä' x 1023, 'a long what() is cut between two characters');

# --- nested ---

($stdout, $stderr) = after('SELECT descend(20)');
is_deeply(
	fields($stderr),
	{ sqlstate => '22012', message => 'the innermost', detail => 'its detail', hint => 'its hint' },
	'an error passes twenty levels of PostgreSQL and C++ unchanged');
is($stdout, 'alive 0|made 20', 'and unwinds the C++ frames of each');
($stdout, $stderr) =
  after(q{SELECT run_guarded_sql($$SELECT run_guarded_sql($b$SELECT throw_guarded('int', '')$b$)$$)});
is_deeply(fields($stderr), $expected{int}, 'so does a C++ exception below');
is($stdout, 'alive 0|made 4', 'likewise');

# --- subtransactions ---
#
# The statement fails with its relation, its snapshot and its SPI connection open, in an exception block, many times.

my $survive = q{
	DO $do$
	BEGIN
		FOR i IN 1 .. 200 LOOP
			BEGIN
				PERFORM run_guarded_sql('SELECT 1 / (oid::int - oid::int) FROM pg_class');
				RAISE EXCEPTION 'it did not fail';
			EXCEPTION WHEN division_by_zero THEN
				INSERT INTO survived VALUES (i);
			END;
			BEGIN
				PERFORM throw_guarded('bad_alloc', '');
				RAISE EXCEPTION 'it did not fail';
			EXCEPTION WHEN out_of_memory THEN
				INSERT INTO survived VALUES (-i);
			END;
		END LOOP;
	END $do$};
$node->safe_psql('postgres', 'CREATE TABLE survived (i int)');
($stdout, $stderr) = after("$survive; SELECT count(*), sum(i) FROM survived; SELECT count(*) > 100 FROM pg_class");
is($stdout, "400|0\nt\nalive 0|made 600", 'a transaction goes on after errors in its subtransactions');
is($stderr, '', 'without a warning of leaked relations, snapshots or buffers');
is( $node->safe_psql(
		'postgres', "SELECT count(*) FROM pg_locks WHERE relation = 'survived'::regclass AND NOT pid = pg_backend_pid()"),
	0,
	'and leaves no lock behind');

# --- interrupts ---

($stdout, $stderr) = after(q{SET statement_timeout = '50ms'; SELECT run_guarded_sql('SELECT pg_sleep(600)'); RESET statement_timeout});
is_deeply(
	fields($stderr),
	{ sqlstate => '57014', message => 'canceling statement due to statement timeout' },
	'statement_timeout in a guarded call is the ordinary error');
is($stdout, 'alive 0|made 1', 'and the session goes on');

# Runs the statement in a session of its own and, when that sleeps, the function of its pid in another. Returns what its
# client heard.
sub interrupted_by
{
	my ($function, $statement) = @_;
	my ($out, $err) = ('', '');
	my $client = IPC::Run::start(
		[
			'psql', '-XAtq', '--set', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'),
			'-c', $statement, '-c', q{SELECT 'alive ' || witnesses_alive()}
		],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(default_timeout_s()));
	wait_until
	{
		$node->safe_psql('postgres', "SELECT count($function(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") > 0
	}
	'a session that sleeps';
	$client->finish;
	return ($out, $err);
}

($stdout, $stderr) = interrupted_by('pg_cancel_backend', q{SELECT run_guarded_sql('SELECT pg_sleep(600)')});
is_deeply(
	fields($stderr),
	{ sqlstate => '57014', message => 'canceling statement due to user request' },
	'pg_cancel_backend() in a guarded call is the ordinary error');
is($stdout, "alive 0\n", 'and the session goes on');

my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
($stdout, $stderr) = interrupted_by('pg_terminate_backend', q{SELECT run_guarded_sql('SELECT pg_sleep(600)')});
like($stderr, qr/FATAL:  57P01: terminating connection due to administrator command/,
	'pg_terminate_backend() in a guarded call ends the session');
is($stdout, '', 'at once');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'and no other');

# --- memory ---
#
# What is warmed up first is caches, allocated once.

my $growth = $node->safe_psql('postgres',
	'SELECT heap_growth_of_errors(1000) IS NULL; SELECT heap_growth_of_errors(10000)');
like($growth, qr/^f\n-?\d+$/, 'ten thousand errors in one memory context');
cmp_ok((split /\n/, $growth)[1], '<', 64 * 1024, 'leave nothing on the heap');

my $errors_in_blocks = q{
	DO $do$
	BEGIN
		FOR i IN 1 .. %d LOOP
			BEGIN
				PERFORM raise_guarded('23505', 'one of many', 'with a detail', 'and a hint');
			EXCEPTION WHEN unique_violation THEN
			END;
		END LOOP;
	END $do$;
	SELECT sum(used_bytes) FROM pg_backend_memory_contexts;};
my ($before, $after) = split /\n/, $node->safe_psql('postgres', sprintf($errors_in_blocks, 1000) . sprintf($errors_in_blocks, 10000));
cmp_ok($after - $before, '<', 64 * 1024, 'ten thousand errors in exception blocks leave nothing in the session');

is_log_clean(
	$node,
	expected => [
		qr/ERROR:  (?:P0042|23505|55P03|22000|XX000|53200|22023|22012|57014): /,
		qr/FATAL:  57P01: terminating connection due to administrator command/
	]);
$node->stop;

done_testing();
