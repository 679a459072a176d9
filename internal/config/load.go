package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const envPrefix = "SHOAL_"

// ofKubernetes are the variables that Kubernetes sets in the pods beside a
// Service whose name begins with shoal. They are none of ours.
var ofKubernetes = regexp.MustCompile(`^SHOAL_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$`)

// EnvOf is the environment variable of a key.
func EnvOf(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// FlagOf is the flag of a key.
func FlagOf(key string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(key) }

// AddFlags adds the flags of a command's keys, --config and --plain-http.
func AddFlags(flags *pflag.FlagSet, command string) {
	for _, k := range Keys {
		if !k.Takes(command) {
			continue
		}
		switch k.Kind {
		case Strings, Networks:
			flags.StringSlice(FlagOf(k.Name), nil, k.Help)
		case Bool:
			flags.Bool(FlagOf(k.Name), k.Default == "true", k.Help)
		default:
			flags.String(FlagOf(k.Name), k.Default, k.Help)
		}
	}
	flags.String("config", "", "YAML file with settings; see docs/config.md")
	flags.StringArray("plain-http", nil, "registry `HOST` that speaks plain HTTP (repeatable)")
}

// Load reads the configuration of a command. flags are those of AddFlags,
// parsed.
func Load(flags *pflag.FlagSet, command string) (*Config, error) {
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(defaults(), "."), nil); err != nil {
		return nil, err
	}
	if file, err := flags.GetString("config"); err == nil && file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
		if err := loadFile(k, command, data); err != nil {
			return nil, fmt.Errorf("config %s: %w", file, err)
		}
	}
	if err := loadEnv(k, command, os.Environ()); err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if err := k.Load(posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
		key := keyOfFlag(f.Name)
		if key == "" || !f.Changed {
			return "", nil
		}
		return key, posflag.FlagVal(flags, f)
	}), nil); err != nil {
		return nil, err
	}
	cfg, err := decode(k)
	if err != nil {
		return nil, err
	}
	hosts, err := flags.GetStringArray("plain-http")
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		cfg.plainHTTP(host)
	}
	return cfg, cfg.complete(command)
}

// FromMap reads the configuration of somebody who takes it from a file of another
// program. The tree is as in our own file. There is no environment and there are
// no flags.
func FromMap(tree map[string]any, taker string) (*Config, error) {
	values := map[string]any{}
	if err := flatten(values, "", tree, 0); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	for _, key := range Keys {
		if _, set := values[key.Name]; set && !key.Takes(taker) {
			return nil, fmt.Errorf("config: %s is not for the %s", key.Name, taker)
		}
	}
	k := koanf.New(".")
	for _, m := range []map[string]any{defaults(), values} {
		if err := k.Load(confmap.Provider(m, "."), nil); err != nil {
			return nil, err
		}
	}
	cfg, err := decode(k)
	if err != nil {
		return nil, err
	}
	return cfg, cfg.complete(taker)
}

// plainHTTP makes a registry one that speaks plain HTTP.
func (c *Config) plainHTTP(host string) {
	for i := range c.Registries {
		if c.Registries[i].Host == host {
			c.Registries[i].PlainHTTP = true
			return
		}
	}
	c.Registries = append(c.Registries, Registry{Host: host, PlainHTTP: true})
}

func defaults() map[string]any {
	m := map[string]any{}
	for _, k := range Keys {
		if k.Kind == Strings || k.Kind == Networks {
			m[k.Name] = []string{}
			continue
		}
		m[k.Name] = k.Default
	}
	return m
}

func keyOfFlag(flag string) string {
	for _, k := range Keys {
		if FlagOf(k.Name) == flag {
			return k.Name
		}
	}
	return ""
}

func loadEnv(k *koanf.Koanf, command string, environ []string) error {
	byName := map[string]Key{}
	var names []string
	for _, key := range Keys {
		byName[EnvOf(key.Name)] = key
		names = append(names, EnvOf(key.Name))
	}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if _, ok := byName[name]; !ok && strings.HasPrefix(name, envPrefix) &&
			!strings.HasPrefix(name, envPrefix+"TEST_") && !ofKubernetes.MatchString(name) {
			return fmt.Errorf("unknown variable %s: did you mean %s?", name, nearest(name, names))
		}
	}
	return k.Load(env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			key, ok := byName[name]
			if !ok || !key.Takes(command) {
				return "", nil
			}
			if key.Kind == Strings || key.Kind == Networks {
				return key.Name, splitList(value)
			}
			return key.Name, value
		},
	}), nil)
}

func splitList(s string) []string {
	out := []string{}
	for _, v := range strings.Split(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}
