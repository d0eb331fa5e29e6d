package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/cloudoptim/cloudoptim/pkg/config"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/link"
)

// settings are what the agent can be told.
type settings struct {
	Logging config.Logging `koanf:"logging"`
	Central struct {
		Address string `koanf:"address" valid:"nonempty" help:"central's gRPC address, host:port"`
		TLS     bool   `koanf:"tls" help:"speak TLS to central"`
		CAFile  string `koanf:"ca_file" help:"who signs central's certificate; empty: the system's authorities"`
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
	return errors.Join(problems...)
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

// dial connects to central. It runs for every session, so a rotated key counts
// without a restart.
func (s *settings) dial() (*grpc.ClientConn, error) {
	key := s.Agent.APIKey
	if s.Agent.APIKeyFile != "" {
		text, err := os.ReadFile(filepath.Clean(s.Agent.APIKeyFile))
		if err != nil {
			return nil, fmt.Errorf("reading the API key: %w", err)
		}
		key = strings.TrimSpace(string(text))
	}
	return rpc.Dial(s.Central.Address, rpc.DialConfig{
		APIKey: key, TLS: s.Central.TLS, CAFile: s.Central.CAFile, Options: link.Keepalive(),
	})
}

// clients are apart so that a drain of fifty nodes cannot starve the lease.
type clients struct {
	watch, drain, lease kubernetes.Interface
}

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
		into  *kubernetes.Interface
		qps   float32
		burst int
	}{{&made.watch, 20, 40}, {&made.drain, 50, 100}, {&made.lease, 5, 10}} {
		limited := rest.CopyConfig(cfg)
		limited.QPS, limited.Burst = c.qps, c.burst
		if *c.into, err = kubernetes.NewForConfig(limited); err != nil {
			return nil, fmt.Errorf("making a Kubernetes client: %w", err)
		}
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
