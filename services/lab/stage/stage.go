// Package stage puts the real central, ml and agent on the lab, as processes, for the demo, e2e and bench.
package stage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

// Options say what is put on the stage.
type Options struct {
	// Bin has the binaries central, ml, agent and lab.
	Bin string
	// Source is the source tree, for the lab's build.
	Source string
	// Dir holds state and logs; it must exist.
	Dir string
	// LabArgs are added to `lab up`, e.g. --nodes 40.
	LabArgs []string
	// Say is told what goes on; may be nil.
	Say func(format string, args ...any)
	// CentralEnv is added to central's environment.
	CentralEnv []string
	// AgentArgs are added to the agent's; the last of a name counts.
	AgentArgs []string
	// Unconnected: there is a customer and no cluster yet, so no agent either; Connect
	// says which it is.
	Unconnected bool
}

// Lab is lab.json.
type Lab struct {
	Kubeconfig       string            `json:"kubeconfig"`
	AgentKubeconfig  string            `json:"agent_kubeconfig"`
	AWSEndpoint      string            `json:"aws_endpoint"`
	Region           string            `json:"region"`
	ClusterName      string            `json:"cluster_name"`
	SubnetIDs        map[string]string `json:"subnet_ids"`
	LaunchTemplateID string            `json:"launch_template_id"`
	SQSQueueURL      string            `json:"sqs_queue_url"`
	RoleARN          string            `json:"role_arn"`
}

// Stage is everything, running.
type Stage struct {
	Options
	Lab                            Lab
	LabProcess, Central, ML, Agent *Process
	// Platform may do everything; Admin is the customer's.
	Platform, Admin REST
	ClusterID       string
	AgentKey        string

	ports  map[string]int
	mlKey  string
	plaKey string
}

// Up starts everything and waits until central knows the whole cluster with prices.
func Up(ctx context.Context, opts Options) (*Stage, error) {
	if opts.Say == nil {
		opts.Say = func(string, ...any) {}
	}
	s := &Stage{Options: opts, mlKey: secret(), plaKey: "co_platform_" + secret()}
	parts := []func(context.Context) error{s.startLab, s.choosePorts, s.StartML, s.StartCentral, s.registerCustomer}
	if !opts.Unconnected {
		parts = append(parts, s.registerCluster, s.StartAgent, s.awaitState)
	}
	for _, part := range parts {
		if err := part(ctx); err != nil {
			s.Down()
			return nil, err
		}
	}
	return s, nil
}

// Down stops everything, last first.
func (s *Stage) Down() {
	for _, p := range []*Process{s.Agent, s.Central, s.ML, s.LabProcess} {
		if p != nil && p.Alive() {
			s.Say("stopping %s", p.Name)
			p.Stop()
		}
	}
}

func (s *Stage) startLab(ctx context.Context) error {
	began := time.Now()
	s.Say("starting the lab: Kubernetes control plane, simulated nodes, mock AWS (log: %s)", filepath.Join(s.Dir, "lab.log"))
	dir := filepath.Join(s.Dir, "lab")
	args := append([]string{"up", "--dir", dir, "--src", s.Source}, s.LabArgs...)
	var err error
	if s.LabProcess, err = start("lab", filepath.Join(s.Bin, "lab"), filepath.Join(s.Dir, "lab.log"), nil, args...); err != nil {
		return err
	}
	err = s.LabProcess.await(ctx, "the lab", func() bool {
		_, err := os.Stat(filepath.Join(dir, "ready"))
		return err == nil
	})
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		return err
	}
	s.Say("the lab is up after %s", time.Since(began).Round(100*time.Millisecond))
	return json.Unmarshal(raw, &s.Lab)
}

func (s *Stage) choosePorts(context.Context) error {
	names := []string{"central.grpc", "central.http", "replica.grpc", "replica.http", "ml.grpc", "ml.http", "agent.grpc", "agent.http"}
	ports, err := proc.FreePorts(len(names))
	if err != nil {
		return err
	}
	s.ports = map[string]int{}
	for i, name := range names {
		s.ports[name] = ports[i]
	}
	return nil
}

// Addr is where a part listens: central.grpc, central.http, replica.grpc, replica.http, ml.grpc, ml.http, agent.http.
func (s *Stage) Addr(name string) string { return "127.0.0.1:" + strconv.Itoa(s.ports[name]) }

// MLKey lets a caller in at ml.
func (s *Stage) MLKey() string { return s.mlKey }

// StartML starts ml.
func (s *Stage) StartML(ctx context.Context) (err error) {
	s.Say("starting ml on %s", s.Addr("ml.grpc"))
	args := []string{"--server.grpc_address=" + s.Addr("ml.grpc"), "--server.http_address=" + s.Addr("ml.http")}
	if !slices.ContainsFunc(s.CentralEnv, func(v string) bool { return strings.HasPrefix(v, "CLOUDOPTIM_DATABASE_HOST=") }) {
		args = append(args, "--server.database_file="+filepath.Join(s.dataDir(), pgembed.MLConnectionFile)) // central writes it
	}
	s.ML, err = start("ml", filepath.Join(s.Bin, "ml"), filepath.Join(s.Dir, "ml.log"), []string{
		"CLOUDOPTIM_ENVIRONMENT=development", "CLOUDOPTIM_ML_API_KEY=" + s.mlKey, "CLOUDOPTIM_MARKET_REFRESH=off",
	}, args...)
	if err != nil {
		return err
	}
	return s.ML.await(ctx, "ml", func() bool { return healthy("http://" + s.Addr("ml.http") + "/healthz") })
}

// StartCentral starts central on its data, which outlive it.
func (s *Stage) StartCentral(ctx context.Context) (err error) {
	s.Platform = REST{Base: "http://" + s.Addr("central.http"), Key: s.plaKey}
	s.Central, err = s.startCentral(ctx, "central")
	return err
}

// StartReplica starts one more central, as "replica"; give both a database and
// Redis by CentralEnv.
func (s *Stage) StartReplica(ctx context.Context) (*Process, error) {
	return s.startCentral(ctx, "replica")
}

func (s *Stage) startCentral(ctx context.Context, name string) (*Process, error) {
	s.Say("starting %s on %s", name, s.Addr(name+".http"))
	env := append([]string{
		"CLOUDOPTIM_ENVIRONMENT=development", "CLOUDOPTIM_ML_API_KEY=" + s.mlKey, "CLOUDOPTIM_CENTRAL_PLATFORM_KEY=" + s.plaKey,
		"CLOUDOPTIM_AWS_ENDPOINT_URL=" + s.Lab.AWSEndpoint, "AWS_ACCESS_KEY_ID=lab", "AWS_SECRET_ACCESS_KEY=lab", "AWS_EC2_METADATA_DISABLED=true",
		// The stage asks more often than people do.
		"CLOUDOPTIM_API_RATE_LIMIT_PER_MINUTE=100000",
	}, s.CentralEnv...)
	process, err := start(name, filepath.Join(s.Bin, "central"), filepath.Join(s.Dir, name+".log"), env,
		"--central.grpc_address="+s.Addr(name+".grpc"), "--central.http_address="+s.Addr(name+".http"),
		"--central.data_dir="+s.dataDir(), "--ml.address="+s.Addr("ml.grpc"))
	if err != nil {
		return nil, err
	}
	return process, process.await(ctx, name, func() bool { return healthy("http://" + s.Addr(name+".http") + "/readyz") })
}

// dataDir is outside Dir: PostgreSQL runs as another user, who must get there.
func (s *Stage) dataDir() string { return filepath.Join(s.Dir, "postgres") }

// registerCustomer makes a customer, as CloudOptim's staff would.
func (s *Stage) registerCustomer(ctx context.Context) error {
	var customer struct {
		CustomerID  string `json:"customer_id"`
		AdminAPIKey string `json:"admin_api_key"`
	}
	err := s.Platform.Post(ctx, "/api/v1/admin/customers", map[string]any{
		"company_name": "Example Ltd", "email": "platform@example.com", "aws_role_arn": s.Lab.RoleARN, "sqs_queue_url": s.Lab.SQSQueueURL,
	}, &customer)
	if err != nil {
		return err
	}
	s.Admin = REST{Base: s.Platform.Base, Key: customer.AdminAPIKey}
	return nil
}

// registerCluster registers the lab's, as the customer would.
func (s *Stage) registerCluster(ctx context.Context) error {
	var made struct {
		Cluster struct {
			ClusterID string `json:"cluster_id"`
		} `json:"cluster"`
		AgentAPIKey string `json:"agent_api_key"`
	}
	err := s.Admin.Post(ctx, "/api/v1/admin/clusters", map[string]any{
		"cluster_name": s.Lab.ClusterName, "region": s.Lab.Region,
		"launch": map[string]any{"launch_template_id": s.Lab.LaunchTemplateID, "subnet_ids": s.Lab.SubnetIDs},
		"mode":   "automatic",
	}, &made)
	if err != nil {
		return err
	}
	s.ClusterID, s.AgentKey = made.Cluster.ClusterID, made.AgentAPIKey
	return s.SetPolicy(ctx, nil)
}

// SetPolicy sets values of the cluster's policy beside mode automatic, in which nothing is
// planned but what is asked for, and a budget that leaves the pace to each optimization.
func (s *Stage) SetPolicy(ctx context.Context, values map[string]any) error {
	all := map[string]any{"mode": "automatic", "engines": map[string]any{}, "budgets": map[string]any{}}
	maps.Copy(all, values)
	return s.Admin.Do(ctx, http.MethodPut, "/api/v1/admin/policies", map[string]any{"cluster_id": s.ClusterID, "values": all}, nil)
}

// Connect starts the agent of a cluster that somebody else registered, and waits until
// central knows it.
func (s *Stage) Connect(ctx context.Context, clusterID, agentKey string) error {
	s.ClusterID, s.AgentKey = clusterID, agentKey
	if err := s.StartAgent(ctx); err != nil {
		return err
	}
	return s.awaitState(ctx)
}

// StartAgent starts the agent with its ServiceAccount's rights.
func (s *Stage) StartAgent(context.Context) (err error) {
	s.Say("starting the agent with the rights of its ServiceAccount")
	s.Agent, err = start("agent", filepath.Join(s.Bin, "agent"), filepath.Join(s.Dir, "agent.log"), []string{
		"CLOUDOPTIM_ENVIRONMENT=development", "CLOUDOPTIM_AGENT_API_KEY=" + s.AgentKey,
	}, append([]string{
		"--central.address=" + s.Addr("central.grpc"), "--agent.cluster_id=" + s.ClusterID, "--agent.kubeconfig=" + s.Lab.AgentKubeconfig,
		"--agent.state_dir=" + filepath.Join(s.Dir, "agent"), "--server.http_address=" + s.Addr("agent.http"), "--server.grpc_address=" + s.Addr("agent.grpc"),
	}, s.AgentArgs...)...)
	return err
}

// awaitState waits until the agent has told all and every node has a price.
func (s *Stage) awaitState(ctx context.Context) error {
	s.Say("waiting for the agent's first report")
	return s.Agent.await(ctx, "the first report", func() bool {
		state, err := s.State(ctx)
		if err != nil || state.TotalNodes == 0 || state.RunningPods == 0 {
			return false
		}
		for _, node := range state.Nodes {
			if node.HourlyPrice == 0 {
				return false
			}
		}
		return true
	})
}

// State is the cluster as central knows it.
func (s *Stage) State(ctx context.Context) (State, error) {
	var state State
	return state, s.Admin.Get(ctx, "/api/v1/admin/clusters/"+s.ClusterID+"/state", &state)
}

// Trigger starts an optimization, such as spot_optimize or bin_pack.
func (s *Stage) Trigger(ctx context.Context, optimization string, options map[string]any) (Optimization, error) {
	body := map[string]any{"cluster_id": s.ClusterID, "optimization_type": optimization}
	if options != nil {
		body["options"] = options
	}
	var started Optimization
	return started, s.Admin.Post(ctx, "/api/v1/admin/optimization/trigger", body, &started)
}

// Optimization reads one.
func (s *Stage) Optimization(ctx context.Context, id string) (Optimization, error) {
	var o Optimization
	return o, s.Admin.Get(ctx, "/api/v1/admin/optimizations/"+id, &o)
}

// Follow reads an optimization until it has ended, and hands each reading to see.
func (s *Stage) Follow(ctx context.Context, id string, every time.Duration, see func(Optimization)) (Optimization, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		o, err := s.Optimization(ctx, id)
		if err == nil {
			see(o)
			if o.Status == "completed" || o.Status == "failed" || o.Status == "cancelled" {
				return o, nil
			}
		}
		if !s.Central.Alive() && err != nil {
			return o, fmt.Errorf("central has ended: %w\n%s", err, s.Central.Tail(15))
		}
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("waiting for optimization %s: %w", id, ctx.Err())
		case <-tick.C:
		}
	}
}

func healthy(url string) bool {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func secret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: the runtime ends the program instead
	return base64.RawURLEncoding.EncodeToString(raw)
}
