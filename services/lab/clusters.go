package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/generate"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/openb"
)

// generateFlags are the same for `generate` and `up`.
func generateFlags(fs *flag.FlagSet, c *generate.Config) {
	fs.Uint64Var(&c.Seed, "seed", 1, "the same seed gives the same cluster")
	fs.IntVar(&c.Nodes, "nodes", 40, "m5, m6i, c5 and r5 nodes, 2xlarge and 4xlarge, in three zones")
	fs.IntVar(&c.Pods, "pods", 300, "pods of workloads (replicas P(r)~1/r^1.5; CPU log-normal, sigma 0.9; 1 to 8 GiB a core);\nthree DaemonSets' pods come on top")
	fs.Float64Var(&c.Fill, "fill", 0.38, "requested share of the nodes' CPU")
	fs.Float64Var(&c.Spot, "spot", 0, "share of the nodes that are spot")
}

func generateCluster(_ context.Context, args []string) error {
	var c generate.Config
	fs := flag.NewFlagSet("generate", flag.ContinueOnError)
	generateFlags(fs, &c)
	fs.StringVar(&c.Region, "region", "us-east-1", "AWS region")
	out := fs.String("out", "-", "file to write, - for standard output")
	if err := fs.Parse(args); err != nil {
		return err
	}
	d, err := generate.Cluster(c)
	if err != nil {
		return err
	}
	return output(*out, d.Write)
}

func convertOpenb(_ context.Context, args []string) error {
	var c openb.Config
	fs := flag.NewFlagSet("convert-openb", flag.ContinueOnError)
	nodes := fs.String("nodes", "", "openb_node_list…csv, gzipped or not")
	pods := fs.String("pods", "", "openb_pod_list…csv, gzipped or not")
	fs.IntVar(&c.MaxNodes, "max-nodes", 0, "take that many nodes, drawn by seed; 0 for all")
	fs.BoolVar(&c.CPUOnly, "cpu-only", false, "leave out nodes and pods with GPUs")
	fs.Float64Var(&c.Fill, "fill", 0.5, "put pods on a node until that share of its CPU or memory is requested")
	fs.Uint64Var(&c.Seed, "seed", 1, "the same seed gives the same cluster")
	fs.StringVar(&c.Region, "region", "us-east-1", "AWS region")
	out := fs.String("out", "-", "file to write, - for standard output")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *nodes == "" || *pods == "" {
		return errors.New("--nodes and --pods are needed")
	}
	nodeFile, err := os.Open(*nodes)
	if err != nil {
		return err
	}
	defer nodeFile.Close()
	podFile, err := os.Open(*pods)
	if err != nil {
		return err
	}
	defer podFile.Close()
	result, err := openb.Convert(nodeFile, podFile, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d nodes, %d pods; %d pods fit on no node and were dropped\n",
		len(result.Dump.Nodes), len(result.Dump.Pods), result.Dropped)
	return output(*out, result.Dump.Write)
}
