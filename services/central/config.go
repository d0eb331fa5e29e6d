package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/pkg/config"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"

	"github.com/cloudoptim/cloudoptim/services/central/internal/admin"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption"
)

// settings are what central can be told.
type settings struct {
	config.Common `koanf:",squash"`

	Central struct {
		GRPCAddress string `koanf:"grpc_address" default:"127.0.0.1:8443" valid:"nonempty" help:"where agents connect and grpcurl asks"`
		HTTPAddress string `koanf:"http_address" default:"127.0.0.1:8080" valid:"nonempty" help:"REST, WebSocket, /metrics, /healthz, /openapi.json"`
		DataDir     string `koanf:"data_dir" help:"where the embedded PostgreSQL lives; empty: the system's place for such data"`
		Replica     string `koanf:"replica" help:"name of this replica; empty: the host's name and a random part"`
		// Streams end by age so that they spread over replicas.
		MaxConnectionAgeSeconds int    `koanf:"max_connection_age_seconds" default:"4200" valid:"min=0" help:"age at which a connection is ended; 0: never"`
		PlatformKey             string `koanf:"platform_key" secret:"true" help:"an API key with scope platform that always exists; make one with: central new-key"`
		// What GetClusterInstall tells people to paste.
		PublicGRPCAddress string `koanf:"public_grpc_address" help:"host:port where agents connect from outside, behind TLS unless public_url begins with http://; empty: where it listens, without TLS"`
		PublicURL         string `koanf:"public_url" help:"where REST is asked from outside, e.g. https://cloudoptim.example.com; empty: where it listens"`
		TemplateURL       string `koanf:"template_url" help:"S3 address of deploy/aws/customer.yaml, for CloudFormation's quick-create page; empty: no such link"`
		PrincipalARN      string `koanf:"principal_arn" help:"ARN of the identity that central runs as, which customers' roles trust; empty: people fill it in"`
		Chart             string `koanf:"chart" default:"deploy/helm/cloudoptim-agent" valid:"nonempty" help:"the agent's Helm chart, as helm install takes it"`
		MetricsKeepDays   int    `koanf:"metrics_keep_days" default:"30" valid:"min=1" help:"days that agents' reports are kept"`
		MaxModelMiB       int    `koanf:"max_model_mib" default:"32" valid:"min=1,max=63" help:"most MiB of an uploaded model"`
	} `koanf:"central"`

	Interruption struct {
		ActOnRebalance bool `koanf:"act_on_rebalance" help:"drain nodes that AWS only recommends to leave; else that is remembered as a risk"`
		PollSeconds    int  `koanf:"poll_seconds" default:"30" valid:"min=0" help:"how often EC2 is asked for interruptions that no event told of; 0: never"`
	} `koanf:"interruption"`
	ML struct {
		Address string `koanf:"address" default:"127.0.0.1:8543" valid:"nonempty" help:"ml's gRPC address"`
		APIKey  string `koanf:"api_key" secret:"true" help:"central's key for ml"`
		TLS     bool   `koanf:"tls" help:"speak TLS to ml"`
		CAFile  string `koanf:"ca_file" help:"who signs ml's certificate; empty: the system's authorities"`
	} `koanf:"ml"`
}

// install says where clusters connect. A port that is left to the system is not known before it is open: configure
// the public addresses then.
func (s *settings) install() admin.Install {
	in := admin.Install{
		Address: s.Central.PublicGRPCAddress, URL: strings.TrimSuffix(s.Central.PublicURL, "/"), TemplateURL: s.Central.TemplateURL,
		PrincipalARN: s.Central.PrincipalARN, Chart: s.Central.Chart,
	}
	in.TLS = in.Address != "" && !strings.HasPrefix(in.URL, "http://")
	if in.Address == "" {
		in.Address = reachable(s.Central.GRPCAddress)
	}
	if in.URL == "" {
		in.URL = "http://" + reachable(s.Central.HTTPAddress)
	}
	return in
}

// reachable is a listening address as others can use it: all interfaces are called by the host's name.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}

// minKey is the shortest platform key: 256 bits in base64 and more.
const minKey = 43

// hostPort is what the agent's chart takes as an address.
var hostPort = regexp.MustCompile(`^[^/\s,]+:[0-9]+$`)

// maxModelBytes is below 64 MiB: REST takes bodies up to that, a form's own bytes
// included, and ml reads files up to as many.
func (s *settings) maxModelBytes() int { return s.Central.MaxModelMiB << 20 }

func (s *settings) maxConnectionAge() time.Duration {
	return time.Duration(s.Central.MaxConnectionAgeSeconds) * time.Second
}

// Validate checks what one field alone does not show.
func (s *settings) Validate() error {
	var problems []error
	if k := s.Central.PlatformKey; k != "" && len(k) < minKey {
		problems = append(problems, config.Invalid("central.platform_key", "must have at least %d characters", minKey))
	}
	if s.ML.APIKey == "" {
		problems = append(problems, config.Invalid("ml.api_key", "must be set"))
	}
	if a := s.Central.PublicGRPCAddress; a != "" && !hostPort.MatchString(a) {
		problems = append(problems, config.Invalid("central.public_grpc_address", "must be host:port"))
	}
	if u := s.Central.PublicURL; u != "" && !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") {
		problems = append(problems, config.Invalid("central.public_url", "must begin with https:// or http://"))
	}
	return errors.Join(problems...)
}

func (s *settings) interruptionPolicy() interruption.Policy {
	return interruption.Policy{
		ActOnRebalance: s.Interruption.ActOnRebalance, PollEvery: time.Duration(s.Interruption.PollSeconds) * time.Second,
	}
}

func (s *settings) replica() (string, error) {
	if s.Central.Replica != "" {
		return s.Central.Replica, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("naming this replica: %w", err)
	}
	return host + "-" + uuid.NewString()[:8], nil
}

func (s *settings) dataDir() (string, error) {
	if s.Central.DataDir != "" {
		return s.Central.DataDir, nil
	}
	return pgembed.DefaultDataDir()
}
