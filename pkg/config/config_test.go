package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cloudoptim/cloudoptim/pkg/config"
)

type optimizer struct {
	Every   time.Duration     `koanf:"every" default:"5m" valid:"min=1s,max=1h"`
	Regions []string          `koanf:"regions"`
	Weights []float64         `koanf:"weights"`
	Labels  map[string]string `koanf:"labels"`
	Share   float64           `koanf:"share" valid:"min=0,max=1"`
	APIKey  string            `koanf:"api_key" secret:"true"`
	Rules   []rule            `koanf:"rules"`
}

type rule struct {
	Name string        `koanf:"name"`
	Wait time.Duration `koanf:"wait"`
}

type settings struct {
	config.Common `koanf:",squash"`
	Optimizer     optimizer `koanf:"optimizer"`
}

func (s *settings) Validate() error {
	var problems []error
	if s.Optimizer.Share > 0 && len(s.Optimizer.Regions) == 0 {
		problems = append(problems, config.Invalid("optimizer.share", "needs optimizer.regions"))
	}
	if s.Optimizer.APIKey == "short" {
		problems = append(problems, config.Invalid("optimizer.api_key", "must have 32 characters"))
	}
	return errors.Join(problems...)
}

func files(common, development string) fstest.MapFS {
	return fstest.MapFS{
		"common.yaml":      {Data: []byte("environment: development\n" + common)},
		"development.yaml": {Data: []byte(development)},
	}
}

func load(t *testing.T, opts config.Options) (*settings, error) {
	t.Helper()
	var s settings
	opts.Name = "test"
	if opts.Environ == nil {
		opts.Environ = []string{"HOME=/"}
	}
	return &s, config.Load(&s, opts)
}

func TestTheShippedFilesGiveTheDocumentedValues(t *testing.T) {
	s, err := load(t, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Common{
		Environment: "production",
		Logging:     config.Logging{Level: "INFO", Format: "json", Output: "stdout"},
		Database: config.Database{
			Host: "postgres.internal", Port: 5432, Name: "cloudoptim", PoolSize: 20, MaxOverflow: 40, SSLMode: "verify-full",
		},
		Redis: config.Redis{Host: "redis.internal", Port: 6379, TTLSeconds: 3600},
		API:   config.API{RequestTimeoutSeconds: 30, RateLimitPerMinute: 60},
		AWS: config.AWS{
			Region: "us-east-1", SpotAdvisorURL: "https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json",
			SpotAdvisorRefreshIntervalSeconds: 21600,
		},
	}
	if diff := cmp.Diff(want, s.Common); diff != "" {
		t.Error(diff)
	}
}

func TestEveryShippedEnvironmentLoads(t *testing.T) {
	for _, name := range []string{"development", "staging", "production"} {
		s, err := load(t, config.Options{Args: []string{"--environment", name}})
		if err != nil || s.Environment != name {
			t.Errorf("%s: got %q, %v", name, s.Environment, err)
		}
		if embedded := s.Database.Host == "" && s.Redis.Host == ""; embedded != (name == "development") {
			t.Errorf("%s: embedded defaults = %v", name, embedded)
		}
	}
}

func TestLaterLayersWin(t *testing.T) {
	opts := config.Options{Files: files("database: {pool_size: 1, port: 1, name: a, host: h}", "database: {pool_size: 2, port: 2, name: b}")}
	opts.Environ = []string{"CLOUDOPTIM_DATABASE_POOL_SIZE=3", "CLOUDOPTIM_DATABASE_PORT=3", "CLOUDOPTIM_DATABASE_HOST="}
	opts.Args = []string{"--database.pool_size=4", "--database.max_overflow", "7", "--set", "database.max_overflow=8"}
	s, err := load(t, opts)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Database{Name: "b", Port: 3, PoolSize: 4, MaxOverflow: 8, SSLMode: "prefer"}
	if diff := cmp.Diff(want, s.Database); diff != "" {
		t.Error(diff)
	}
}

func TestTypesFromFilesAndFromTextAreReadAlike(t *testing.T) {
	want := optimizer{
		Every: 90 * time.Second, Regions: []string{"a", "b"}, Weights: []float64{1, 0.5},
		Labels: map[string]string{"karpenter.sh/kind": "x", "b": "y"}, Share: 0.25,
	}
	fromFile, err := load(t, config.Options{Files: files(`
optimizer:
  every: 90s
  regions: [a, b]
  weights: [1, 0.5]
  labels: {karpenter.sh/kind: x, b: "y"}
  share: 0.25
`, "")})
	if err != nil {
		t.Fatal(err)
	}
	fromText, err := load(t, config.Options{Files: files("", ""), Environ: []string{
		"CLOUDOPTIM_OPTIMIZER_EVERY=90s", "CLOUDOPTIM_OPTIMIZER_REGIONS=a, b", "CLOUDOPTIM_OPTIMIZER_WEIGHTS=1,0.5",
		"CLOUDOPTIM_OPTIMIZER_LABELS=karpenter.sh/kind=x,b=y", "CLOUDOPTIM_OPTIMIZER_SHARE=0.25",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []*settings{fromFile, fromText} {
		if diff := cmp.Diff(want, got.Optimizer); diff != "" {
			t.Error(diff)
		}
	}
}

func TestListsOfStructsRefuseUnknownKeys(t *testing.T) {
	s, err := load(t, config.Options{Files: files("optimizer: {rules: [{name: a, wait: 3s}]}", "")})
	if diff := cmp.Diff([]rule{{"a", 3 * time.Second}}, s.Optimizer.Rules); err != nil || diff != "" {
		t.Error(err, diff)
	}
	_, err = load(t, config.Options{Files: files("optimizer: {rules: [{nam: a}]}", "")})
	requireError(t, err, "optimizer.rules", "common.yaml", "nam")
}

func TestUnknownKeysAreNamedWithTheirOrigin(t *testing.T) {
	_, err := load(t, config.Options{
		Files:   files("database: {pool_sise: 3}\nspeed: 1", "redis: {hosst: a}"),
		Environ: []string{"CLOUDOPTIM_DATABASE_POOLSIZE=3"},
	})
	requireError(t, err, "unknown setting database.pool_sise in common.yaml", "unknown setting speed in common.yaml",
		"unknown setting redis.hosst in development.yaml", "unknown setting in environment variable CLOUDOPTIM_DATABASE_POOLSIZE")
	_, err = load(t, config.Options{Files: files("", ""), Args: []string{"--database.pool_sise=3"}})
	requireError(t, err, "command line", "--database.pool_sise")
	_, err = load(t, config.Options{Files: files("", ""), Args: []string{"--set", "database.pool_sise=3"}})
	requireError(t, err, "--set", "unknown setting database.pool_sise")
	_, err = load(t, config.Options{Files: files("", ""), Args: []string{"stray"}})
	requireError(t, err, `"stray"`)
}

func TestSectionsOfOtherServersAreAccepted(t *testing.T) {
	opts := config.Options{
		Files: files("agent: {anything: {at: all}}", ""), OtherSections: []string{"agent"},
		Environ: []string{"CLOUDOPTIM_AGENT_TOKEN=x", "CLOUDOPTIM_LAB=1", "CLOUDOPTIM_CACHE=/c"}, OtherVariables: []string{"CLOUDOPTIM_LAB"},
	}
	if _, err := load(t, opts); err != nil {
		t.Error(err)
	}
	opts.OtherSections = nil
	_, err := load(t, opts)
	requireError(t, err, "unknown setting agent", "CLOUDOPTIM_AGENT_TOKEN")
}

func TestAServerWithoutTheSharedSectionsAcceptsThemButChecksTheirKeys(t *testing.T) {
	var s struct {
		Logging config.Logging `koanf:"logging"`
	}
	environ := []string{"CLOUDOPTIM_DATABASE_POOL_SIZE=3", "CLOUDOPTIM_ENVIRONMENT=development"}
	if err := config.Load(&s, config.Options{Environ: environ}); err != nil || s.Logging.Level != "DEBUG" {
		t.Error(s, err)
	}
	requireError(t, config.Load(&s, config.Options{Environ: environ, Files: files("database: {pool: 3}", "")}), "database.pool")
	requireError(t, config.Load(&s, config.Options{Environ: environ, Args: []string{"--database.port=3"}}), "--database.port")
}

func TestKubernetesServiceLinksAreNotSettings(t *testing.T) {
	s, err := load(t, config.Options{Files: files("", ""), Environ: []string{
		"CLOUDOPTIM_DATABASE_PORT=tcp://10.0.0.1:5432", "CLOUDOPTIM_DATABASE_SERVICE_HOST=10.0.0.1", "CLOUDOPTIM_ML_SERVICE_PORT_GRPC=9",
		"CLOUDOPTIM_DATABASE_PORT_5432_TCP=tcp://10.0.0.1:5432", "CLOUDOPTIM_DATABASE_PORT_5432_TCP_ADDR=10.0.0.1",
	}})
	if err != nil || s.Database.Port != 5432 {
		t.Error(s.Database.Port, err)
	}
}

func TestBadValuesNameKeyValueOriginAndConstraint(t *testing.T) {
	cases := map[string]struct {
		file, env, want string
	}{
		"too large":            {env: "DATABASE_PORT=99999", want: "database.port: 99999 (environment variable CLOUDOPTIM_DATABASE_PORT) must be at most 65535"},
		"not a number":         {env: "DATABASE_PORT=many", want: "database.port: many (environment variable CLOUDOPTIM_DATABASE_PORT) must be a whole number"},
		"empty number":         {env: "DATABASE_PORT=", want: "must be a whole number"},
		"bool for a number":    {file: "database: {port: true}", want: "database.port: true (common.yaml) must be a whole number"},
		"number for a bool":    {file: "database: {echo: 1}", want: "database.echo: 1 (common.yaml) must be true or false"},
		"number for a text":    {file: "database: {name: 12}", want: "database.name: 12 (common.yaml) must be text"},
		"not in the set":       {env: "LOGGING_LEVEL=LOUD", want: `logging.level: "LOUD" (environment variable CLOUDOPTIM_LOGGING_LEVEL) must be one of DEBUG, INFO, WARNING, ERROR`},
		"number for a time":    {file: "optimizer: {every: 5}", want: "optimizer.every: 5 (common.yaml) must be a duration"},
		"too long a time":      {file: "optimizer: {every: 2h}", want: "optimizer.every: 2h0m0s (common.yaml) must be at most 1h"},
		"not a number at all":  {env: "OPTIMIZER_SHARE=NaN", want: "optimizer.share: NaN"},
		"section as a value":   {file: "database: 5", want: "database in common.yaml is a section"},
		"emptied":              {file: "database: {name: null}", want: `database.name: "" (common.yaml) must not be empty`},
		"the whole is unsound": {env: "OPTIMIZER_SHARE=0.5", want: "optimizer.share: 0.5 (environment variable CLOUDOPTIM_OPTIMIZER_SHARE) needs optimizer.regions"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			environ := []string{}
			if c.env != "" {
				environ = append(environ, "CLOUDOPTIM_"+c.env)
			}
			_, err := load(t, config.Options{Files: files(c.file, ""), Environ: environ})
			requireError(t, err, c.want)
		})
	}
}

func TestSecretsAreInNoMessage(t *testing.T) {
	_, err := load(t, config.Options{Files: files("database: {password: 1234567}", ""), Environ: []string{"CLOUDOPTIM_OPTIMIZER_API_KEY=short"}})
	requireError(t, err, "database.password (common.yaml) must be text", "optimizer.api_key (environment variable CLOUDOPTIM_OPTIMIZER_API_KEY) must have")
	if strings.Contains(err.Error(), "1234567") || strings.Contains(err.Error(), "short") {
		t.Errorf("a secret is in %q", err)
	}
}

func TestPrintConfigShowsValuesAndOriginsAndMasksSecrets(t *testing.T) {
	var out bytes.Buffer
	_, err := load(t, config.Options{
		Files: files("database: {host: h}\nredis: {password: null}", ""), Args: []string{"--print-config", "--api.rate_limit_per_minute=9"},
		Environ: []string{"CLOUDOPTIM_DATABASE_PASSWORD=hunter2"}, Output: &out,
	})
	if !errors.Is(err, config.ErrDone) {
		t.Fatal(err)
	}
	for _, line := range []string{
		`database.host: "h"  # common.yaml`,
		"database.password: ********  # environment variable CLOUDOPTIM_DATABASE_PASSWORD",
		`redis.password: ""  # common.yaml`,
		"api.rate_limit_per_minute: 9  # flag --api.rate_limit_per_minute",
		`database.ssl_mode: "prefer"  # default`,
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, &out)
		}
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Error("the password is shown")
	}
}

func TestHelpNamesEveryKeyAndItsVariable(t *testing.T) {
	var out bytes.Buffer
	if _, err := load(t, config.Options{Args: []string{"--help"}, Output: &out}); !errors.Is(err, config.ErrDone) {
		t.Fatal(err)
	}
	requireError(t, errors.New(out.String()), "--database.pool_size", "[CLOUDOPTIM_DATABASE_POOL_SIZE]", "--print-config", "--config-dir")
}

func TestConfigDirReplacesTheBuiltInFiles(t *testing.T) {
	dir := t.TempDir()
	_, err := load(t, config.Options{Args: []string{"--config-dir", dir}})
	requireError(t, err, dir+"/common.yaml")
	_, err = load(t, config.Options{Environ: []string{"CLOUDOPTIM_CONFIG_DIR=" + dir}})
	requireError(t, err, dir+"/common.yaml")
}

func TestAnEnvironmentWithoutFileOrWithAPathIsRefused(t *testing.T) {
	for _, name := range []string{"prod", "../etc", ""} {
		_, err := load(t, config.Options{Args: []string{"--environment=" + name}})
		requireError(t, err, fmt.Sprintf("%q", name))
	}
	_, err := load(t, config.Options{Files: files("", "environment: production")})
	requireError(t, err, "must not change the environment")
}

func TestDatabaseDSNQuotesWhatNeedsIt(t *testing.T) {
	d := config.Database{Host: "::1", Port: 5, Name: "n", Password: "p@/:?", SSLMode: "require"}
	if got, want := d.DSN("central_server"), "postgres://central_server:p%40%2F%3A%3F@[::1]:5/n?sslmode=require"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTwoSettingsWithOneVariableAreTheProgrammersMistake(t *testing.T) {
	var s struct {
		A struct {
			BC int `koanf:"b_c"`
		} `koanf:"a"`
		AB struct {
			C int `koanf:"c"`
		} `koanf:"a_b"`
	}
	requireError(t, config.Load(&s, config.Options{}), "a.b_c", "a_b.c", "CLOUDOPTIM_A_B_C")
}

func requireError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
}
