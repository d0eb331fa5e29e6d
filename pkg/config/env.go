package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// outsiders are variables of ours which are no settings: other packages read them.
var outsiders = []string{dirVariable, prefix + "CACHE", prefix + "PG_BIN", prefix + "DATA"}

// readEnv reads the CLOUDOPTIM_… variables. Names are resolved against the known keys, because the
// underscore both separates words and sections.
func readEnv(s *schema, opts Options) (layer, error) {
	l := layer{values: map[string]any{}, origins: map[string]string{}, text: true}
	var problems []error
	for _, entry := range opts.Environ {
		name, value, _ := strings.Cut(entry, "=")
		switch key, known := s.byEnv[name]; {
		case !strings.HasPrefix(name, prefix), isServiceLink(name, value):
		case known:
			l.values[key], l.origins[key] = value, "environment variable "+name
		case slices.Contains(outsiders, name), slices.Contains(opts.OtherVariables, name), s.elsewhereVariable(name):
		default:
			problems = append(problems, fmt.Errorf("unknown setting in environment variable %s", name))
		}
	}
	return l, errors.Join(problems...)
}

var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

// isServiceLink recognises what Kubernetes puts into every pod for a Service called cloudoptim-…:
// CLOUDOPTIM_CENTRAL_SERVICE_HOST and, worse, CLOUDOPTIM_DATABASE_PORT=tcp://10.0.0.1:5432.
func isServiceLink(name, value string) bool {
	if strings.HasSuffix(name, "_PORT") {
		return linkValue.MatchString(value)
	}
	return serviceLink.MatchString(name)
}

var linkValue = regexp.MustCompile(`^(tcp|udp|sctp)://`)

func lookup(environ []string, name string) string {
	for _, entry := range environ {
		if found, value, _ := strings.Cut(entry, "="); found == name {
			return value
		}
	}
	return ""
}
