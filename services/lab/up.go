package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cloudoptim/cloudoptim/pkg/moto"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/dump"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/generate"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/joint"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/kube"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/load"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/meter"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/parts"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/progress"
)

// settings are `lab up`'s flags.
type settings struct {
	generate.Config
	dir, src, dump, cluster, agentRBAC string
	rights                             []string // the files of agentRBAC
	bootDelay, timeout                 time.Duration
	ownDir                             bool
}

// description is lab.json: all that the other programs need to find their way.
type description struct {
	Kubeconfig       string            `json:"kubeconfig"`
	AgentKubeconfig  string            `json:"agent_kubeconfig"`
	AWSEndpoint      string            `json:"aws_endpoint"`
	Region           string            `json:"region"`
	ClusterName      string            `json:"cluster_name"`
	SubnetIDs        map[string]string `json:"subnet_ids"` // by availability zone
	SecurityGroupIDs []string          `json:"security_group_ids"`
	LaunchTemplateID string            `json:"launch_template_id"`
	SQSQueueURL      string            `json:"sqs_queue_url"`
	RoleARN          string            `json:"role_arn"`
	ExternalID       string            `json:"external_id"`
}

func upFlags(args []string) (*settings, error) {
	s := &settings{}
	fs := flag.NewFlagSet("up", flag.ContinueOnError)
	generateFlags(fs, &s.Config)
	fs.StringVar(&s.dir, "dir", "", "state folder; lab.json and then ready appear in it (default: a temporary one)")
	fs.StringVar(&s.src, "src", ".", "the source tree, or a folder in it")
	fs.StringVar(&s.dump, "cluster", "", "a dump to load instead of a generated cluster:\nkubectl get nodes,pods,pdb -A -o json > dump.json")
	fs.StringVar(&s.Region, "region", "", "AWS region (default: the dump's, else us-east-1)")
	fs.StringVar(&s.cluster, "cluster-name", "lab", "EKS cluster name")
	fs.StringVar(&s.agentRBAC, "agent-rbac", "deploy/agent-rbac.yaml,deploy/agent-rbac-force.yaml", "the agent's rights, files relative to the source tree,\nwith commas between; empty for none")
	fs.DurationVar(&s.bootDelay, "boot-delay", 2*time.Second, "from a running instance to its Node")
	fs.DurationVar(&s.timeout, "timeout", 10*time.Minute, "give up when not ready by then")
	return s, fs.Parse(args)
}

func up(ctx context.Context, args []string) error {
	s, err := upFlags(args)
	if err != nil {
		return err
	}
	p, root, err := ensure(ctx, s.src)
	if err != nil {
		return err
	}
	if err := s.check(root); err != nil {
		return err
	}
	copied, err := s.read()
	if err != nil {
		return err
	}
	if err := s.cleanDir(); err != nil {
		return err
	}
	if s.ownDir {
		defer os.RemoveAll(s.dir)
	}
	progress.Say("state, logs and keys are in %s", s.dir)
	err = s.run(ctx, p, copied)
	_ = os.Remove(filepath.Join(s.dir, "ready"))
	progress.Say("down")
	return err
}

// check finds what would fail late.
func (s *settings) check(root string) error {
	for file := range strings.SplitSeq(s.agentRBAC, ",") {
		if file == "" {
			continue
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(root, file)
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("finding the agent's rights (--agent-rbac): %w", err)
		}
		s.rights = append(s.rights, file)
	}
	return nil
}

var awsRegion = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d$`)

// read loads or makes up the cluster, and settles the region.
func (s *settings) read() (*dump.Copy, error) {
	if s.dump == "" {
		if s.Region == "" {
			s.Region = "us-east-1"
		}
		d, err := generate.Cluster(s.Config)
		if err != nil {
			return nil, err
		}
		return dump.MakeCopy(d), nil
	}
	d, err := dump.ReadFile(s.dump)
	if err != nil {
		return nil, err
	}
	if s.Region == "" {
		s.Region = d.Nodes[0].Labels[corev1.LabelTopologyRegion]
		if !awsRegion.MatchString(s.Region) {
			s.Region = "us-east-1"
		}
	}
	return dump.MakeCopy(d), nil
}

// cleanDir removes what an earlier run left: its etcd knows another cluster.
func (s *settings) cleanDir() error {
	var err error
	if s.dir == "" {
		s.ownDir = true
		s.dir, err = os.MkdirTemp("", "cloudoptim-lab-")
		return err
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	for _, old := range []string{"ready", "lab.json", "agent.kubeconfig", "kube", "moto"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, old)))
	}
	return errors.Join(err, os.MkdirAll(s.dir, 0o755))
}

// run starts the parts, furnishes them and stays until the end.
func (s *settings) run(ctx context.Context, p parts.Parts, copied *dump.Copy) error {
	readyCtx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	box, aws, err := s.startParts(readyCtx, p)
	if box != nil {
		defer box.Stop()
	}
	if aws != nil {
		defer aws.Stop()
	}
	if err != nil {
		return err
	}
	var account *moto.Account
	err = progress.Step("furnishing the AWS account", func() error {
		account, err = s.furnish(readyCtx, aws, copied)
		return err
	})
	if err != nil {
		return err
	}
	loader := &load.Loader{Client: box.Client, Copy: copied}
	if err := loader.Load(readyCtx); err != nil {
		return err
	}
	usage := &meter.Meter{Client: box.Client}
	if err := usage.Start(readyCtx, box.Config); err != nil {
		return err
	}
	defer usage.Stop()
	agent := filepath.Join(s.dir, "agent.kubeconfig")
	if err := box.AgentKubeconfig(readyCtx, s.rights, agent); err != nil {
		return err
	}
	if err := s.announce(box, aws, account, agent); err != nil {
		return err
	}
	j := &joint.Joint{
		EC2: aws.EC2(s.Region), Kube: box.Client, Account: account,
		BootDelay: s.bootDelay, Interval: 500 * time.Millisecond,
	}
	return stay(ctx, j, box, aws)
}

// startParts starts both at once; each takes some seconds. What did start is
// returned with the error.
func (s *settings) startParts(ctx context.Context, p parts.Parts) (box *kube.Box, aws *moto.Server, err error) {
	err = progress.Step("starting Kubernetes and AWS", func() error {
		var kubeErr, awsErr error
		var both sync.WaitGroup
		both.Go(func() { box, kubeErr = kube.Start(ctx, p.Kubebox, filepath.Join(s.dir, "kube")) })
		both.Go(func() { aws, awsErr = moto.Start(ctx, p.Python, filepath.Join(s.dir, "moto")) })
		both.Wait()
		return errors.Join(kubeErr, awsErr)
	})
	return box, aws, err
}

func (s *settings) furnish(ctx context.Context, aws *moto.Server, copied *dump.Copy) (*moto.Account, error) {
	var zones []string
	for _, n := range copied.Nodes {
		zones = append(zones, n.Labels[corev1.LabelTopologyZone])
	}
	account, err := aws.Furnish(ctx, s.Region, s.cluster, zones)
	if err != nil {
		return nil, err
	}
	return account, joint.Adopt(ctx, aws.EC2(s.Region), account, copied.Nodes)
}

// announce writes lab.json, whole or not at all, and then ready.
func (s *settings) announce(box *kube.Box, aws *moto.Server, account *moto.Account, agent string) error {
	data, err := json.MarshalIndent(description{
		Kubeconfig: box.Kubeconfig, AgentKubeconfig: agent, AWSEndpoint: aws.Endpoint,
		Region: s.Region, ClusterName: s.cluster, SubnetIDs: account.Subnets,
		SecurityGroupIDs: account.SecurityGroupIDs, LaunchTemplateID: account.LaunchTemplateID,
		SQSQueueURL: account.QueueURL, RoleARN: moto.RoleARN, ExternalID: moto.ExternalID,
	}, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "lab.json")
	if err := os.WriteFile(file+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "ready"), nil, 0o600); err != nil {
		return err
	}
	progress.Say("READY: %s; export KUBECONFIG=%s AWS_ENDPOINT_URL=%s; Ctrl-C ends it", file, box.Kubeconfig, aws.Endpoint)
	return nil
}

// stay runs the joint until the lab is told to end or a part of it has died.
func stay(ctx context.Context, j *joint.Joint, box *kube.Box, aws *moto.Server) error {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = j.Run(ctx) })
	defer running.Wait()
	defer stop()
	select {
	case <-ctx.Done():
		return nil
	case <-box.Child.Done():
		return box.Child.Ended()
	case <-aws.Child.Done():
		return aws.Child.Ended()
	}
}
