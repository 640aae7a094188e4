"""Everything that is put together and run: roles, commands, demo, migrations, images."""
