package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	shipped "github.com/cloudoptim/cloudoptim/deploy/config"
)

// dirVariable names the directory with the files, in place of the built-in ones.
const dirVariable = prefix + "CONFIG_DIR"

// source is where the files are read from and how that is called in messages.
type source struct {
	files fs.FS
	name  func(file string) string
}

func chooseSource(opts Options, flags *flagLayer) source {
	dir := flags.dir
	if dir == "" {
		dir = lookup(opts.Environ, dirVariable)
	}
	if dir != "" {
		return source{os.DirFS(dir), func(file string) string { return path.Join(dir, file) }}
	}
	if opts.Files != nil {
		return source{opts.Files, func(file string) string { return file }}
	}
	return source{shipped.Files, func(file string) string { return file + " (built in)" }}
}

// readFiles reads common.yaml and the file of the environment, which is named by the flag, the
// variable or common.yaml, in this order.
func readFiles(s *schema, opts Options, flags *flagLayer, env layer) ([]layer, error) {
	from := chooseSource(opts, flags)
	common, err := from.read(s, "common.yaml")
	if common.values == nil {
		return nil, err
	}
	environment := ""
	for _, layer := range []layer{common, env, flags.layer} {
		if value, set := layer.values["environment"]; set {
			environment = fmt.Sprint(value)
		}
	}
	// The name becomes a file's name, so it must not be a path.
	if environment == "" || strings.ContainsAny(environment, `/\`) {
		return nil, errors.Join(err, fmt.Errorf("environment: %q must be the name of an environment, such as production", environment))
	}
	special, specialErr := from.read(s, environment+".yaml")
	if errors.Is(specialErr, fs.ErrNotExist) {
		specialErr = fmt.Errorf("environment: there is no file %s for environment %q", from.name(environment+".yaml"), environment)
	}
	if _, set := special.values["environment"]; set {
		specialErr = errors.Join(specialErr, fmt.Errorf("environment: %s must not change the environment", from.name(environment+".yaml")))
	}
	return []layer{common, special}, errors.Join(err, specialErr)
}

func (from source) read(s *schema, file string) (layer, error) {
	text, err := fs.ReadFile(from.files, file)
	if err != nil {
		return layer{}, fmt.Errorf("reading settings from %s: %w", from.name(file), err)
	}
	tree := koanf.New(".")
	if err := tree.Load(rawbytes.Provider(text), yaml.Parser()); err != nil {
		return layer{}, fmt.Errorf("reading settings from %s: %w", from.name(file), err)
	}
	l := layer{values: map[string]any{}, origins: map[string]string{}}
	return l, s.collect("", tree.Raw(), from.name(file), l)
}

// collect puts the leaves of a file's tree into the layer and names what it does not know.
func (s *schema) collect(at string, tree map[string]any, origin string, into layer) error {
	var problems []error
	for name, value := range tree {
		key := strings.TrimPrefix(at+"."+name, ".")
		below, isMap := value.(map[string]any)
		switch {
		case s.known(key):
			into.values[key], into.origins[key] = value, origin
		case at == "" && s.elsewhere(key):
		case s.sections[key] && isMap:
			problems = append(problems, s.collect(key, below, origin, into))
		case s.sections[key] && value == nil: // a section whose every key is commented out
		case s.sections[key]:
			problems = append(problems, fmt.Errorf("%s in %s is a section: it must have keys below it", key, origin))
		default:
			problems = append(problems, fmt.Errorf("unknown setting %s in %s", key, origin))
		}
	}
	return errors.Join(problems...)
}
