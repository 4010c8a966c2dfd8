# Everything that the catalogs of a database say of the extension, to compare an upgraded installation with a fresh one.
#
#   my @differences = catalog_differences(extension_catalog($node, 'fresh'), extension_catalog($node, 'upgraded'));
#
# Both installations must be in schemas of the same name, with the same roles. What the tables hold is compared only where
# the extension's script fills it. Users' own objects are left out.
package WebhookTest::ExtensionCatalog;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();

our @EXPORT = qw(extension_catalog catalog_differences);

# The extension's members and what belongs to them: indexes, constraints, defaults, triggers, policies, types.
my $objects = q{
	WITH RECURSIVE member (classid, objid) AS (
		SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
		WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'webhook'
	), belonging (classid, objid) AS (
		SELECT * FROM member
		UNION
		SELECT d.classid, d.objid FROM belonging b
		JOIN pg_depend d ON d.refclassid = b.classid AND d.refobjid = b.objid AND d.deptype IN ('a', 'i', 'P', 'S')
	), object AS (
		SELECT b.classid, b.objid, i.type, i.type || ' ' || i.identity AS name
		FROM belonging b, pg_identify_object(b.classid, b.objid, 0) i
		WHERE i.schema IS DISTINCT FROM 'pg_toast' AND i.identity !~ '^"?RI_ConstraintTrigger_'
	)};

# A list of privileges, whatever the order in which they were granted.
sub acl
{
	my ($column) = @_;
	return "CASE WHEN $column IS NULL THEN 'default'
	             ELSE (SELECT coalesce(string_agg(a::text, ' ' ORDER BY a::text), 'none') FROM unnest($column) a) END";
}

my %aspects = (
	'exists' => q{SELECT o.name, 'yes' FROM object o},
	'comment' => q{SELECT o.name, obj_description(o.objid, o.classid::regclass::text::name) FROM object o
		WHERE obj_description(o.objid, o.classid::regclass::text::name) IS NOT NULL},
	'definition of function' => q{
		SELECT o.name, CASE WHEN p.prokind = 'a'
		                    THEN concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggtranstype::regtype, a.agginitval)
		                    ELSE pg_get_functiondef(p.oid) END
		FROM object o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid
		LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid},
	'function' => q{
		SELECT o.name, concat_ws(' ', p.proowner::regrole, p.probin, p.procost, p.prorows, p.proparallel, p.provolatile)
		FROM object o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid},
	'privileges on function' => q{
		SELECT o.name, } . acl('p.proacl') . q{
		FROM object o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid},
	'relation' => q{
		SELECT o.name, concat_ws(' ', c.relkind, c.relpersistence, 'owner', c.relowner::regrole, 'rls', c.relrowsecurity,
		       c.relforcerowsecurity, 'options', c.reloptions, 'replident', c.relreplident, 'am',
		       (SELECT m.amname FROM pg_am m WHERE m.oid = c.relam), 'tablespace', c.reltablespace, 'toast',
		       (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid), 'partition',
		       pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
		       (SELECT string_agg(i.inhparent::regclass::text, ' ') FROM pg_inherits i WHERE i.inhrelid = c.oid))
		FROM object o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid},
	'privileges on relation' => q{
		SELECT o.name, } . acl('c.relacl') . q{
		FROM object o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid},
	'definition of view' => q{
		SELECT o.name, pg_get_viewdef(c.oid)
		FROM object o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid AND c.relkind = 'v'},
	'definition of index' => q{
		SELECT o.name, concat_ws(' ', pg_get_indexdef(i.indexrelid), 'valid', i.indisvalid, i.indisready, 'cluster',
		       i.indisclustered, 'replident', i.indisreplident)
		FROM object o JOIN pg_index i ON o.classid = 'pg_class'::regclass AND i.indexrelid = o.objid},
	'sequence' => q{
		SELECT o.name, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache,
		       s.seqcycle)
		FROM object o JOIN pg_sequence s ON o.classid = 'pg_class'::regclass AND s.seqrelid = o.objid},
	# Their places count, because rows are compared and copied by them; those of dropped columns do not. pg_attver is a
	# number that the server draws for each table.
	'column' => q{
		SELECT o.name || '.' || quote_ident(a.attname), concat_ws(' ',
		       'place', row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
		       format_type(a.atttypid, a.atttypmod), 'not null', a.attnotnull, 'identity', a.attidentity, 'generated',
		       a.attgenerated, 'default', pg_get_expr(d.adbin, d.adrelid), 'statistics', a.attstattarget, 'storage',
		       a.attstorage, a.attcompression, 'collation', a.attcollation::regcollation, 'options',
		       (SELECT string_agg(o, ' ') FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg\_attver=%'),
		       'local', a.attislocal, a.attinhcount)
		FROM object o JOIN pg_attribute a ON o.classid = 'pg_class'::regclass AND a.attrelid = o.objid
		JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attnum > 0 AND NOT a.attisdropped},
	'privileges on column' => q{
		SELECT o.name || '.' || quote_ident(a.attname), } . acl('a.attacl') . q{
		FROM object o JOIN pg_attribute a ON o.classid = 'pg_class'::regclass AND a.attrelid = o.objid
		WHERE a.attnum > 0 AND a.attacl IS NOT NULL AND NOT a.attisdropped},
	'comment on column' => q{
		SELECT o.name || '.' || quote_ident(a.attname), col_description(a.attrelid, a.attnum)
		FROM object o JOIN pg_attribute a ON o.classid = 'pg_class'::regclass AND a.attrelid = o.objid
		WHERE a.attnum > 0 AND NOT a.attisdropped AND col_description(a.attrelid, a.attnum) IS NOT NULL},
	'constraint' => q{
		SELECT o.name, concat_ws(' ', pg_get_constraintdef(n.oid), 'validated', n.convalidated, 'local', n.conislocal,
		       n.coninhcount, n.connoinherit)
		FROM object o JOIN pg_constraint n ON o.classid = 'pg_constraint'::regclass AND n.oid = o.objid},
	'trigger' => q{
		SELECT o.name, pg_get_triggerdef(t.oid) || ' enabled ' || t.tgenabled::text
		FROM object o JOIN pg_trigger t ON o.classid = 'pg_trigger'::regclass AND t.oid = o.objid},
	'policy' => q{
		SELECT o.name, concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[], 'using',
		       pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid))
		FROM object o JOIN pg_policy p ON o.classid = 'pg_policy'::regclass AND p.oid = o.objid},
	'type' => q{
		SELECT o.name, concat_ws(' ', t.typtype, t.typowner::regrole, t.typnotnull, t.typdefault,
		       (SELECT string_agg(e.enumlabel, ' ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
		       'privileges', } . acl('t.typacl') . q{)
		FROM object o JOIN pg_type t ON o.classid = 'pg_type'::regclass AND t.oid = o.objid},
	'schema' => q{
		SELECT o.name, concat_ws(' ', n.nspowner::regrole, 'privileges', } . acl('n.nspacl') . q{)
		FROM object o JOIN pg_namespace n ON o.classid = 'pg_namespace'::regclass AND n.oid = o.objid},
	# What pg_dump takes for the privileges that CREATE EXTENSION has granted.
	'initial privileges' => q{
		SELECT i.type || ' ' || i.identity, p.privtype::text || ' ' || } . acl('p.initprivs') . q{
		FROM object o JOIN pg_init_privs p ON p.classoid = o.classid AND p.objoid = o.objid,
		     pg_identify_object(p.classoid, p.objoid, p.objsubid) i},
	'dependency' => q{
		SELECT DISTINCT i.type || ' ' || i.identity || ' on ' || r.type || ' ' || r.identity, d.deptype::text
		FROM object o JOIN pg_depend d ON d.classid = o.classid AND d.objid = o.objid,
		     pg_identify_object(d.classid, d.objid, d.objsubid) i,
		     pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) r
		WHERE i.schema IS DISTINCT FROM 'pg_toast'},
	'extension' => q{
		SELECT 'webhook', concat_ws(' ', e.extversion, e.extowner::regrole, e.extnamespace::regnamespace, e.extrelocatable,
		       obj_description(e.oid, 'pg_extension'))
		FROM pg_extension e WHERE e.extname = 'webhook'},
	'what pg_dump dumps' => q{
		SELECT c.dumped::regclass::text, c.condition
		FROM pg_extension e, unnest(e.extconfig, e.extcondition) c (dumped, condition) WHERE e.extname = 'webhook'},
	'privilege of a level' => q{SELECT p.privilege, p.levels::text FROM webhook_internal.privileges p},
	'built-in event type' => q{
		SELECT t.name, concat_ws(' ', t.category, t.description, t.example) FROM %s.webhook_event_types t WHERE t.is_builtin},
);

# { 'aspect of object' => value }
sub extension_catalog
{
	my ($node, $dbname) = @_;
	my $schema = $node->safe_psql($dbname,
		q{SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'webhook'});
	my %catalog;
	foreach my $aspect (sort keys %aspects)
	{
		my $query = $aspects{$aspect} =~ s/%s/$schema/r;
		my $rows = $node->safe_psql($dbname,
			"SET search_path = pg_catalog; $objects SELECT json_build_array(s.name, s.value)::text FROM ($query) s (name, value)");
		foreach my $line (split /\n/, $rows)
		{
			my ($name, $value) = @{ JSON::PP->new->decode($line) };
			my $key = "$aspect: $name";
			# Of one name there may be several, such as dependencies of two kinds.
			$catalog{$key} = join "\n", sort grep { defined } $catalog{$key}, $value // '(null)';
		}
	}
	return \%catalog;
}

# A line for each thing that one has and the other has not, or has otherwise.
sub catalog_differences
{
	my ($expected, $found) = @_;
	my %all = (%$expected, %$found);
	my @differences;
	foreach my $key (sort keys %all)
	{
		my ($wanted, $got) = ($expected->{$key}, $found->{$key});
		if (!defined $got) { push @differences, "missing: $key: $wanted"; }
		elsif (!defined $wanted) { push @differences, "left over: $key: $got"; }
		elsif ($wanted ne $got) { push @differences, "differs: $key\n  expected $wanted\n  found    $got"; }
	}
	return @differences;
}

1;
