package config

import (
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"
)

// Common is the sections which all servers share. A server embeds it with the tag
// `koanf:",squash"`, or has only those sections that it needs.
type Common struct {
	Environment string   `koanf:"environment" valid:"nonempty" help:"whose file is laid over common.yaml"`
	Logging     Logging  `koanf:"logging"`
	Database    Database `koanf:"database"`
	Redis       Redis    `koanf:"redis"`
	API         API      `koanf:"api"`
	AWS         AWS      `koanf:"aws"`
}

// Logging says what is logged, how and where to.
type Logging struct {
	Level  string `koanf:"level" default:"INFO" valid:"oneof=DEBUG|INFO|WARNING|ERROR" help:"least level to log"`
	Format string `koanf:"format" default:"json" valid:"oneof=json|text" help:"how a record is written"`
	Output string `koanf:"output" default:"stdout" valid:"oneof=stdout|file" help:"where records go"`
	File   string `koanf:"file" help:"the file for output=file; empty: the server's name with .log, in the working directory"`
}

// Database says which PostgreSQL to use. An empty host means the embedded one.
type Database struct {
	Host        string `koanf:"host" help:"PostgreSQL's host; empty: a private one is started"`
	Port        int    `koanf:"port" default:"5432" valid:"min=1,max=65535" help:"PostgreSQL's port"`
	Name        string `koanf:"name" default:"cloudoptim" valid:"nonempty" help:"the database's name"`
	User        string `koanf:"user" help:"the role to connect as; empty: the server's own"`
	Password    string `koanf:"password" secret:"true" help:"the role's password"`
	PoolSize    int    `koanf:"pool_size" default:"10" valid:"min=1,max=1000" help:"connections kept open"`
	MaxOverflow int    `koanf:"max_overflow" default:"20" valid:"min=0,max=1000" help:"connections opened beyond that under load"`
	Echo        bool   `koanf:"echo" help:"log every SQL statement, without its arguments"`
	SSLMode     string `koanf:"ssl_mode" default:"prefer" valid:"oneof=disable|allow|prefer|require|verify-ca|verify-full" help:"as sslmode in libpq"`
}

// DSN is the connection string for the given role, which a configured user replaces.
func (d Database) DSN(role string) string {
	if d.User != "" {
		role = d.User
	}
	user := url.User(role)
	if d.Password != "" {
		user = url.UserPassword(role, d.Password)
	}
	u := url.URL{
		Scheme: "postgres", User: user, Host: net.JoinHostPort(d.Host, strconv.Itoa(d.Port)),
		Path: "/" + d.Name, RawQuery: url.Values{"sslmode": {d.SSLMode}}.Encode(),
	}
	return u.String()
}

// MaxConns is the most connections that the server may open.
func (d Database) MaxConns() int { return d.PoolSize + d.MaxOverflow }

// EchoTo is log if statements are to be logged, else nil.
func (d Database) EchoTo(log *slog.Logger) *slog.Logger {
	if !d.Echo {
		return nil
	}
	return log
}

// Redis says which Redis to use. An empty host means none: what it does is done in the process.
type Redis struct {
	Host       string `koanf:"host" help:"Redis' host; empty: none is used"`
	Port       int    `koanf:"port" default:"6379" valid:"min=1,max=65535" help:"Redis' port"`
	DB         int    `koanf:"db" valid:"min=0" help:"Redis' database number"`
	Password   string `koanf:"password" secret:"true" help:"Redis' password"`
	TTLSeconds int    `koanf:"ttl_seconds" default:"3600" valid:"min=1" help:"the longest that anything kept in Redis lives"`
}

// Addr is host:port, empty when Redis is not used.
func (r Redis) Addr() string {
	if r.Host == "" {
		return ""
	}
	return net.JoinHostPort(r.Host, strconv.Itoa(r.Port))
}

// TTL is the longest that anything kept in Redis lives.
func (r Redis) TTL() time.Duration { return time.Duration(r.TTLSeconds) * time.Second }

// API bounds what a caller may ask for.
type API struct {
	RequestTimeoutSeconds int `koanf:"request_timeout_seconds" default:"30" valid:"min=1,max=3600" help:"a request's time limit"`
	RateLimitPerMinute    int `koanf:"rate_limit_per_minute" default:"60" valid:"min=1" help:"requests per caller and minute"`
	// CORSOrigins are never let in with cookies.
	CORSOrigins []string `koanf:"cors_origins" help:"origins, as https://host, whose pages may call central's REST with a bearer; empty: none"`
}

// RequestTimeout is a request's time limit.
func (a API) RequestTimeout() time.Duration {
	return time.Duration(a.RequestTimeoutSeconds) * time.Second
}

// AWS says how to reach AWS.
type AWS struct {
	Region                            string `koanf:"region" default:"us-east-1" valid:"nonempty" help:"AWS region"`
	SpotAdvisorURL                    string `koanf:"spot_advisor_url" help:"where the Spot Advisor's data is; empty: the built-in snapshot is used"`
	SpotAdvisorRefreshIntervalSeconds int    `koanf:"spot_advisor_refresh_interval_seconds" default:"21600" valid:"min=60" help:"how often it is fetched"`
	EndpointURL                       string `koanf:"endpoint_url" help:"replaces every AWS endpoint; for the lab"`
}

// SpotAdvisorRefreshInterval is how often the Spot Advisor's data is fetched.
func (a AWS) SpotAdvisorRefreshInterval() time.Duration {
	return time.Duration(a.SpotAdvisorRefreshIntervalSeconds) * time.Second
}
