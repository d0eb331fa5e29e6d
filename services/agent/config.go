package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	metricsv1beta1 "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	"github.com/cloudoptim/cloudoptim/pkg/config"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/imds"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/link"
)

// settings are what the agent can be told.
type settings struct {
	Logging config.Logging `koanf:"logging"`
	Central struct {
		Address string `koanf:"address" valid:"nonempty" help:"central's gRPC address, host:port"`
		TLS     bool   `koanf:"tls" help:"speak TLS to central"`
		CAFile  string `koanf:"ca_file" help:"who signs central's certificate; empty: the system's authorities"`
		RESTURL string `koanf:"rest_url" help:"central's REST, as https://host, to ask while no stream can be opened; empty: nowhere"`
	} `koanf:"central"`
	Agent struct {
		ClusterID      string `koanf:"cluster_id" valid:"nonempty" help:"central's id of this cluster, a UUID"`
		APIKey         string `koanf:"api_key" secret:"true" help:"the cluster's API key"`
		APIKeyFile     string `koanf:"api_key_file" help:"a file with the key, read anew at each session"`
		ID             string `koanf:"id" help:"name of this agent, such as its pod's; empty: the host's name"`
		Kubeconfig     string `koanf:"kubeconfig" help:"how to reach Kubernetes; empty: as a pod of the cluster"`
		StateDir       string `koanf:"state_dir" default:"/var/lib/cloudoptim-agent" valid:"nonempty" help:"where tasks are remembered"`
		LeaderElection string `koanf:"leader_election" default:"auto" valid:"oneof=auto|true|false" help:"work only while holding the lease; auto: when running as a pod"`
		Namespace      string `koanf:"namespace" help:"where the lease is; empty: the pod's own namespace"`
		NodeName       string `koanf:"node_name" help:"the node that this agent runs on; empty: it is on none"`
		IMDS           string `koanf:"imds" default:"auto" valid:"oneof=auto|true|false" help:"watch the instance's metadata service for notices; auto: when node_name is set"`
		IMDSEndpoint   string `koanf:"imds_endpoint" default:"http://169.254.169.254" valid:"nonempty" help:"where the metadata service is"`
	} `koanf:"agent"`
	Server struct {
		HTTPAddress string `koanf:"http_address" default:"127.0.0.1:8090" valid:"nonempty" help:"serves /healthz, /readyz and /metrics"`
		GRPCAddress string `koanf:"grpc_address" default:"127.0.0.1:8091" valid:"nonempty" help:"serves gRPC health and reflection"`
	} `koanf:"server"`
}

// Validate checks what one field alone does not show.
func (s *settings) Validate() error {
	var problems []error
	if uuid.Validate(s.Agent.ClusterID) != nil {
		problems = append(problems, config.Invalid("agent.cluster_id", "must be a UUID"))
	}
	if (s.Agent.APIKey == "") == (s.Agent.APIKeyFile == "") {
		problems = append(problems, config.Invalid("agent.api_key", "or agent.api_key_file must be set, not both"))
	}
	if u, err := url.Parse(s.Central.RESTURL); s.Central.RESTURL != "" && (err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http")) {
		problems = append(problems, config.Invalid("central.rest_url", "must be an http address"))
	}
	if s.Agent.IMDS == "true" && s.Agent.NodeName == "" {
		problems = append(problems, config.Invalid("agent.node_name", "must be set to watch the metadata service"))
	}
	if s.watches() {
		if _, err := imds.New(s.Agent.IMDSEndpoint); err != nil {
			problems = append(problems, config.Invalid("agent.imds_endpoint", "must be an http address"))
		}
	}
	return errors.Join(problems...)
}

// watches says whether this agent asks its instance's metadata service.
func (s *settings) watches() bool {
	return s.Agent.IMDS == "true" || (s.Agent.IMDS == "auto" && s.Agent.NodeName != "")
}

func (s *settings) agentID() (string, error) {
	if s.Agent.ID != "" {
		return s.Agent.ID, nil
	}
	return os.Hostname()
}

// elects says whether several agents of this cluster may run, of which one works.
func (s *settings) elects() bool {
	if s.Agent.LeaderElection == "auto" {
		return s.Agent.Kubeconfig == ""
	}
	return s.Agent.LeaderElection == "true"
}

const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func (s *settings) leaseNamespace() (string, error) {
	if s.Agent.Namespace != "" {
		return s.Agent.Namespace, nil
	}
	text, err := os.ReadFile(namespaceFile)
	if err != nil {
		return "", fmt.Errorf("finding the lease's namespace (agent.namespace sets it): %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// key is read anew each time, so a rotated one counts without a restart.
func (s *settings) key() (string, error) {
	if s.Agent.APIKeyFile == "" {
		return s.Agent.APIKey, nil
	}
	text, err := os.ReadFile(filepath.Clean(s.Agent.APIKeyFile))
	if err != nil {
		return "", fmt.Errorf("reading the API key: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// rest is where to ask when no stream can be opened, nil for nowhere.
func (s *settings) rest() (*link.REST, error) {
	if s.Central.RESTURL == "" {
		return nil, nil
	}
	out := &link.REST{Base: strings.TrimRight(s.Central.RESTURL, "/"), Key: s.key}
	if s.Central.CAFile != "" {
		text, err := os.ReadFile(filepath.Clean(s.Central.CAFile))
		if err != nil {
			return nil, fmt.Errorf("reading central's authorities: %w", err)
		}
		out.Roots = x509.NewCertPool()
		if !out.Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading central's authorities: %s holds no certificate", s.Central.CAFile)
		}
	}
	return out, nil
}

// dial connects to central, for every session anew.
func (s *settings) dial() (*grpc.ClientConn, error) {
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	return rpc.Dial(s.Central.Address, rpc.DialConfig{
		APIKey: key, TLS: s.Central.TLS, CAFile: s.Central.CAFile, Options: link.Keepalive(),
	})
}

// clients are apart so that evictions starve neither cordons nor the lease, nor
// the cordon of this agent's own node.
type clients struct {
	watch, drain, marks, lease, node kubernetes.Interface
	usage                            metricsv1beta1.MetricsV1beta1Interface
}

// leaseTimeout leaves room for a second try before the lease must be renewed.
const leaseTimeout = 4 * time.Second

func (s *settings) kubernetes() (*clients, error) {
	cfg, err := s.restConfig()
	if err != nil {
		return nil, fmt.Errorf("finding Kubernetes: %w", err)
	}
	// Half the size of JSON and a fraction of its CPU; large clusters list megabytes.
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	cfg.UserAgent = "cloudoptim-agent/" + version()
	made := &clients{}
	for _, c := range []struct {
		into    *kubernetes.Interface
		qps     float32
		burst   int
		timeout time.Duration
	}{
		{&made.watch, 20, 40, 0},
		{&made.drain, 200, 400, 0}, // five thousand pods of two hundred nodes in half a minute
		{&made.marks, 200, 400, 0},
		{&made.lease, 5, 10, leaseTimeout},
		{&made.node, 5, 10, leaseTimeout},
	} {
		limited := rest.CopyConfig(cfg)
		limited.QPS, limited.Burst, limited.Timeout = c.qps, c.burst, c.timeout
		if *c.into, err = kubernetes.NewForConfig(limited); err != nil {
			return nil, fmt.Errorf("making a Kubernetes client: %w", err)
		}
	}
	// What metrics-server answers is thrown away after each look: a client of its own, bound to few calls.
	limited := rest.CopyConfig(cfg)
	limited.QPS, limited.Burst = 5, 10
	if made.usage, err = metricsv1beta1.NewForConfig(limited); err != nil {
		return nil, fmt.Errorf("making a client of the metrics API: %w", err)
	}
	return made, nil
}

func (s *settings) restConfig() (*rest.Config, error) {
	if s.Agent.Kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", s.Agent.Kubeconfig)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
