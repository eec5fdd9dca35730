# What docs/servers-after-a-freeze.md recommends.
persistent_timeout 900
first_data_timeout 900
