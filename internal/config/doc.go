// Package config is every setting of Shoal: its key, its flag, its environment
// variable, its default, and what it does, in one table (see [Keys]).
//
// A value comes from, in this order: the flag, the environment, the file named
// by --config, the default. The flag of a key is the key with dots and
// underscores turned into dashes; its environment variable is SHOAL_ and the
// key in capitals with dots turned into underscores.
package config
