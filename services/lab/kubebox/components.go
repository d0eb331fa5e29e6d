package main

import (
	_ "embed"
	"fmt"
	"os"
	"strings"

	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
)

// podStop replaces kwok's pod-delete Stage, which removes a pod in no time:
// drains would look faster than they can ever be.
//
//go:embed pod-stop.yaml
var podStop string

func (c *cluster) etcdArgs() []string {
	client := fmt.Sprintf("http://127.0.0.1:%d", c.ports.etcd)
	peer := fmt.Sprintf("http://127.0.0.1:%d", c.ports.etcdPeer)
	return []string{
		"--data-dir=" + c.path("etcd"), "--name=default",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--unsafe-no-fsync", // the data is thrown away
		"--log-level=warn", "--quota-backend-bytes=8589934592",
	}
}

func (c *cluster) apiserverArgs() []string {
	return []string{
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", c.ports.etcd),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.ports.apiserver),
		"--tls-cert-file=" + c.path("pki/apiserver.crt"), "--tls-private-key-file=" + c.path("pki/apiserver.key"),
		"--client-ca-file=" + c.path("pki/ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + c.path("pki/sa.key"),
		"--service-account-key-file=" + c.path("pki/sa.pub"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--endpoint-reconciler-type=none", // 127.0.0.1 is not a legal Endpoints address
		"--allow-privileged=true",
		"--cert-dir=" + c.path("pki"),
	}
}

func (c *cluster) controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=" + c.path("system:kube-controller-manager.kubeconfig"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.ports.controllerManager),
		"--cert-dir=" + c.path("pki/kcm"),
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		// The default 20 a second makes start-up 4 s longer (a token for each
		// controller) and 5,000 pods minutes longer.
		"--kube-api-qps=1000", "--kube-api-burst=2000",
		"--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20", "--concurrent-statefulset-syncs=20",
		// A new node's not-ready taint goes within a second instead of five. The
		// grace period stays at upstream's: a starved machine must not lose nodes.
		// podgc has no flags; who removes a Node removes its pods too.
		"--node-monitor-period=1s",
		"--service-account-private-key-file=" + c.path("pki/sa.key"),
		"--root-ca-file=" + c.path("pki/ca.crt"),
		"--cluster-signing-cert-file=" + c.path("pki/ca.crt"), "--cluster-signing-key-file=" + c.path("pki/ca.key"),
	}
}

func (c *cluster) schedulerArgs() []string {
	return []string{
		"--kubeconfig=" + c.path("system:kube-scheduler.kubeconfig"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.ports.scheduler),
		"--cert-dir=" + c.path("pki/sched"),
		"--leader-elect=false", "--kube-api-qps=1000", "--kube-api-burst=2000",
	}
}

// kwokArgs also writes kwok's config: without Stages it refuses to start.
func (c *cluster) kwokArgs() ([]string, error) {
	stages := c.stages
	if stages == "" {
		stages = c.path("kwok.yaml")
		all := []string{
			nodefast.DefaultNodeInit, heartbeat.DefaultNodeHeartbeatWithLease,
			podfast.DefaultPodReady, podfast.DefaultPodComplete, podStop,
		}
		if err := os.WriteFile(stages, []byte(strings.Join(all, "\n---\n")), 0o644); err != nil {
			return nil, err
		}
	}
	return []string{
		"--kubeconfig=" + c.path("kwok-controller.kubeconfig"), "--config=" + stages,
		"--manage-all-nodes=true", "--node-lease-duration-seconds=40",
		// Nodes on loopback, so that `kubectl logs` never dials a real address.
		"--node-ip=127.0.0.1", fmt.Sprintf("--node-port=%d", c.ports.kwok),
		fmt.Sprintf("--server-address=127.0.0.1:%d", c.ports.kwok),
	}, nil
}

func (c *cluster) healthURLs() []string {
	urls := []string{
		fmt.Sprintf("https://127.0.0.1:%d/healthz", c.ports.controllerManager),
		fmt.Sprintf("https://127.0.0.1:%d/readyz", c.ports.scheduler),
	}
	if !c.noKwok {
		urls = append(urls, fmt.Sprintf("http://127.0.0.1:%d/healthz", c.ports.kwok))
	}
	return urls
}
