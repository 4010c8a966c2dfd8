# A copy of the server's installation, in which a test may replace the library and the scripts of the extension, as the
# installation of a package does.
#
#   my $installation = WebhookTest::Installation->new;
#   $installation->install_script('webhook--0.9.sql', $text);
#   $installation->install_library($file);
#   my $node = new_node(install_path => $installation->path);
#
# PostgreSQL finds its folders from where its program is, so a copy of the program leads to those of the copy. Everything
# else is a link to the original.
package WebhookTest::Installation;

use strict;
use warnings;

use File::Copy qw(copy);
use File::Path qw(make_path);

use PostgreSQL::Test::Utils;

sub new
{
	my ($class) = @_;
	my $self = bless { root => PostgreSQL::Test::Utils::tempdir() }, $class;
	my ($bindir, $libdir, $sharedir) =
	  map { my ($dir) = run_command([ 'pg_config', "--$_" ]); $dir } qw(bindir pkglibdir sharedir);
	@$self{qw(bindir libdir extension_dir)} = map { $self->{root} . $_ } $bindir, $libdir, "$sharedir/extension";
	_link_all($_, $self->{root} . $_) foreach $sharedir, $libdir, $bindir, "$sharedir/extension";
	foreach my $program (qw(postgres pg_ctl initdb))
	{
		_replace("$bindir/$program", "$self->{bindir}/$program");
		chmod 0755, "$self->{bindir}/$program" or die "$program: $!";
	}
	return $self;
}

# For PostgreSQL::Test::Cluster.
sub path { my ($self) = @_; return $self->{bindir} =~ s{/bin\z}{}r; }

# A file beside the others of the extension, such as a script; undef removes it.
sub install_script
{
	my ($self, $name, $text) = @_;
	my $file = "$self->{extension_dir}/$name";
	unlink $file;
	append_to_file($file, $text) if defined $text;
	return;
}

sub script { my ($self, $name) = @_; return slurp_file("$self->{extension_dir}/$name"); }

# In place of the installed one. Servers that have loaded that keep it.
sub install_library
{
	my ($self, $file) = @_;
	_replace($file, "$self->{libdir}/webhook.so");
	return;
}

# Links to all that is in a folder, in another.
sub _link_all
{
	my ($from, $to) = @_;
	# The folder itself may be a link that an earlier call made.
	unlink $to if -l $to;
	make_path($to);
	opendir(my $entries, $from) or die "$from: $!";
	foreach my $name (grep { !/^\.\.?\z/ } readdir $entries)
	{
		symlink("$from/$name", "$to/$name") or die "$to/$name: $!";
	}
	closedir $entries;
	return;
}

# A new file in the place of another, which stays what it is for those that have it open.
sub _replace
{
	my ($from, $to) = @_;
	copy($from, "$to.new") or die "$from: $!";
	rename("$to.new", $to) or die "$to: $!";
	return;
}

1;
