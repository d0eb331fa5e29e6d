package main

import (
	"os"
	"strings"

	"github.com/cloudoptim/cloudoptim/pkg/config"
)

// keyVariable holds central's API key. It lies in central's section of the
// configuration, since central presents it; ml reads it by the same name, so that one
// secret serves both.
const keyVariable = "CLOUDOPTIM_ML_API_KEY"

// settings are what ml can be told.
type settings struct {
	config.Common `koanf:",squash"`

	Server struct {
		GRPCAddress  string `koanf:"grpc_address" default:"127.0.0.1:8081" valid:"nonempty" help:"where gRPC is served"`
		HTTPAddress  string `koanf:"http_address" default:"127.0.0.1:8082" valid:"nonempty" help:"where REST, /healthz, /metrics and /openapi.json are served"`
		DatabaseFile string `koanf:"database_file" help:"file with the database's address, such as postgres/ml.dsn in the state folder of a central on this machine that runs a PostgreSQL of its own; read for every new connection"`
	} `koanf:"server"`
	Auth struct {
		APIKeys []string `koanf:"api_keys" secret:"true" help:"keys of servers that may call, beside CLOUDOPTIM_ML_API_KEY"`
	} `koanf:"auth"`
	Market struct {
		Refresh string   `koanf:"refresh" default:"auto" valid:"oneof=auto|off" help:"fetch prices from AWS; auto: when AWS credentials are found"`
		Regions []string `koanf:"regions" help:"regions whose prices are fetched; empty: aws.region"`
	} `koanf:"market"`
}

// Validate checks what one field alone does not show.
func (s *settings) Validate() error {
	if s.Server.DatabaseFile != "" && s.Database.Host != "" {
		return config.Invalid("server.database_file", "must be empty where database.host names the database")
	}
	if len(s.keys()) == 0 {
		return config.Invalid("auth.api_keys", "or "+keyVariable+" must be set: without a key no one could call")
	}
	for _, key := range s.keys() {
		if len(key) < minKeyLength {
			return config.Invalid("auth.api_keys", "must each have at least 16 characters")
		}
	}
	return nil
}

const minKeyLength = 16

// keys that callers may present.
func (s *settings) keys() []string {
	var keys []string
	for _, key := range append([]string{os.Getenv(keyVariable)}, s.Auth.APIKeys...) {
		if key = strings.TrimSpace(key); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// regions whose prices are fetched.
func (s *settings) regions() []string {
	if len(s.Market.Regions) > 0 {
		return s.Market.Regions
	}
	return []string{s.AWS.Region}
}
