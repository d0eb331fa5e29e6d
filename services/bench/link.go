package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool" //nolint:depguard // the bench writes tasks as another replica would: a row, then a word over Redis

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

const (
	// linkWithin bounds the whole subject.
	linkWithin = 25 * time.Minute
	// settle lets collectors of garbage and heartbeats find their pace before memory is read.
	settle = 40 * time.Second
	// asks are how many messages are timed on each side.
	asks = 2000
	// breather is between two of them, the same on both sides: processors that idle in
	// between, as they do in life, take longer to wake than busy ones do to answer.
	breather = 5 * time.Millisecond
	// askWithin bounds one.
	askWithin = 20 * time.Second
)

// link measures the streams of many agents: what an idle one costs, how soon a
// task is with its agent, and how soon all are back after the server died; the
// first two beside a bare grpc-go server with the same streams and heartbeats.
func (b *bench) link(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, linkWithin)
	defer cancel()
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	bareMemory, bare, err := b.bareLink(ctx)
	if err != nil {
		return fmt.Errorf("measuring a bare server: %w", err)
	}
	world, err := newLinkWorld(ctx, b, dir)
	if err != nil {
		return err
	}
	defer world.close()
	memory, dispatch, err := world.measure(ctx)
	if err != nil {
		return fmt.Errorf("measuring central: %w", err)
	}
	const against = "a bare grpc-go stream, same buffers and heartbeats"
	b.note("stream.memory_kib", memory/1024, "KiB", nil, "")
	b.note("stream.bare_memory_kib", bareMemory/1024, "KiB", nil, "")
	b.note("stream.memory_over_bare_grpc", memory/bareMemory, "times", atMost(1.3), against)
	b.note("dispatch.p50_ms", millis(percentile(dispatch, 50)), "ms", nil, "")
	b.note("dispatch.p99_ms", millis(percentile(dispatch, 99)), "ms", nil, "")
	b.note("dispatch.bare_p50_ms", millis(percentile(bare, 50)), "ms", nil, "")
	b.note("dispatch.bare_p99_ms", millis(percentile(bare, 99)), "ms", nil, "")
	b.note("dispatch.p50_over_bare_grpc", float64(percentile(dispatch, 50))/float64(percentile(bare, 50)), "times", nil, "the same message, ping and pong")
	b.note("dispatch.p99_over_bare_grpc", float64(percentile(dispatch, 99))/float64(percentile(bare, 99)), "times", atMost(3), "the same message, ping and pong")
	back, err := world.reconnect(ctx)
	if err != nil {
		return fmt.Errorf("losing central: %w", err)
	}
	b.note(fmt.Sprintf("stream.reconnect_%d_p95_s", b.streams), percentile(back, 95).Seconds(), "s", atMost(60), "")
	return nil
}

// bareLink measures the limit: memory for each stream, and pings.
func (b *bench) bareLink(ctx context.Context) (memory float64, pings []time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, nil, err
	}
	address, err := proc.FreeAddress()
	if err != nil {
		return 0, nil, err
	}
	server := exec.Command(self, partBare, address)
	server.Stderr = os.Stderr
	child, err := proc.Start("bare server", server)
	if err != nil {
		return 0, nil, err
	}
	defer child.Stop(5 * time.Second)
	if err := awaitPort(ctx, address); err != nil {
		return 0, nil, err
	}
	before, err := residentOf(server.Process.Pid)
	if err != nil {
		return 0, nil, err
	}
	var agents []string
	for range b.streams {
		agents = append(agents, uuid.NewString()+" none")
	}
	herd, err := startHerd(self, address, agents)
	if err != nil {
		return 0, nil, err
	}
	defer herd.close()
	if memory, err = b.settled(ctx, herd, server.Process.Pid, before); err != nil {
		return 0, nil, err
	}
	pings, err = herd.pings(ctx)
	return memory, pings, err
}

// settled waits until all agents are there and at rest, and returns by how much
// the server has grown for each.
func (b *bench) settled(ctx context.Context, h *herd, pid int, before int64) (float64, error) {
	if _, err := h.welcomes(ctx, b.streams); err != nil {
		return 0, err
	}
	if err := pause(ctx, settle); err != nil {
		return 0, err
	}
	after, err := residentOf(pid)
	return float64(after-before) / float64(b.streams), err
}

// linkWorld is a central with a database and Redis, and many agents.
type linkWorld struct {
	bench    *bench
	dir      string
	postgres *pgembed.Server
	pool     *pgxpool.Pool
	redis    *proc.Child
	word     net.Conn
	central  *exec.Cmd
	child    *proc.Child
	herd     *herd
	agents   []string
	grpc     string
	env      []string
	args     []string
}

func newLinkWorld(ctx context.Context, b *bench, dir string) (w *linkWorld, err error) {
	w = &linkWorld{bench: b, dir: dir}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.postgres, err = pgembed.Start(ctx, pgembed.Config{DataDir: filepath.Join(dir, "postgres")}); err != nil {
		return nil, err
	}
	if err = db.Migrate(ctx, w.postgres.CentralDSN()); err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(w.postgres.CentralDSN())
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.RuntimeParams[db.TenantSetting] = db.Everyone
	if w.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, err
	}
	if err = w.register(ctx); err != nil {
		return nil, err
	}
	redis, err := proc.FreeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(redis)
	w.redis, err = proc.StartLogged("redis", filepath.Join(dir, "redis.log"), exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir))
	if err != nil {
		return nil, err
	}
	if err = awaitPort(ctx, redis); err != nil {
		return nil, err
	}
	if w.word, err = net.Dial("tcp", redis); err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, w.word) }() // Redis counts who heard; nobody asks
	return w, w.configure(port)
}

func (w *linkWorld) configure(redisPort string) error {
	var err error
	if w.grpc, err = proc.FreeAddress(); err != nil {
		return err
	}
	http, err := proc.FreeAddress()
	if err != nil {
		return err
	}
	cfg, err := pgxpool.ParseConfig(w.postgres.CentralDSN())
	if err != nil {
		return err
	}
	w.env = append(os.Environ(), "CLOUDOPTIM_ENVIRONMENT=development", "CLOUDOPTIM_ML_API_KEY=unused",
		"CLOUDOPTIM_DATABASE_HOST=127.0.0.1", "CLOUDOPTIM_DATABASE_PORT="+strconv.Itoa(w.postgres.Port()), "CLOUDOPTIM_DATABASE_SSL_MODE=disable",
		"CLOUDOPTIM_DATABASE_NAME="+cfg.ConnConfig.Database, "CLOUDOPTIM_DATABASE_USER="+cfg.ConnConfig.User, "CLOUDOPTIM_DATABASE_PASSWORD="+cfg.ConnConfig.Password,
		"CLOUDOPTIM_REDIS_HOST=127.0.0.1", "CLOUDOPTIM_REDIS_PORT="+redisPort, "CLOUDOPTIM_LOGGING_LEVEL=WARNING",
		"AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none", "AWS_EC2_METADATA_DISABLED=true")
	w.args = []string{"--central.grpc_address=" + w.grpc, "--central.http_address=" + http, "--ml.address=127.0.0.1:9"}
	return nil
}

// register writes the clusters and their agents' keys.
func (w *linkWorld) register(ctx context.Context) error {
	var customer uuid.UUID
	err := w.pool.QueryRow(ctx, "INSERT INTO customers (company_name, email) VALUES ('bench', 'bench@example.com') RETURNING customer_id").Scan(&customer)
	if err != nil {
		return err
	}
	var clusters []uuid.UUID
	var hashes [][]byte
	for range w.bench.streams {
		cluster, secret := uuid.New(), "co_agent_"+uuid.NewString()
		sum := sha256.Sum256([]byte(secret))
		clusters, hashes = append(clusters, cluster), append(hashes, sum[:])
		w.agents = append(w.agents, cluster.String()+" "+secret)
	}
	_, err = w.pool.Exec(ctx, `INSERT INTO clusters (cluster_id, customer_id, cluster_name, region)
		SELECT id, $2, id::text, 'us-east-1' FROM unnest($1::uuid[]) id`, clusters, customer)
	if err != nil {
		return err
	}
	_, err = w.pool.Exec(ctx, `INSERT INTO api_keys (secret_hash, prefix, scope, customer_id, cluster_id)
		SELECT hash, 'co_agent_', 'agent', $3, id FROM unnest($1::bytea[], $2::uuid[]) t(hash, id)`, hashes, clusters, customer)
	return err
}

func (w *linkWorld) start(ctx context.Context) (err error) {
	w.central = exec.Command(filepath.Join(w.bench.root, "bin", "central"), w.args...)
	w.central.Env = w.env
	if w.child, err = proc.StartLogged("central", filepath.Join(w.dir, "central.log"), w.central); err != nil {
		return err
	}
	return awaitPort(ctx, w.grpc)
}

// measure reads memory for each stream and times tasks.
func (w *linkWorld) measure(ctx context.Context) (memory float64, took []time.Duration, err error) {
	if err := w.start(ctx); err != nil {
		return 0, nil, err
	}
	if err := pause(ctx, 5*time.Second); err != nil {
		return 0, nil, err
	}
	before, err := residentOf(w.central.Process.Pid)
	if err != nil {
		return 0, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, nil, err
	}
	if w.herd, err = startHerd(self, w.grpc, w.agents); err != nil {
		return 0, nil, err
	}
	if memory, err = w.bench.settled(ctx, w.herd, w.central.Process.Pid, before); err != nil {
		return 0, nil, err
	}
	for range asks {
		if err := pause(ctx, breather); err != nil {
			return 0, nil, err
		}
		one, err := w.task(ctx)
		if err != nil {
			return 0, nil, err
		}
		took = append(took, one)
	}
	return memory, took, nil
}

// task writes one as another replica would, and times it from the word that
// follows the commit to its agent.
func (w *linkWorld) task(ctx context.Context) (time.Duration, error) {
	cluster, _, _ := strings.Cut(w.agents[rand.IntN(len(w.agents))], " ")
	id := uuid.NewString()
	_, err := w.pool.Exec(ctx, `INSERT INTO tasks (task_id, cluster_id, task_type, parameters, priority, deadline)
		VALUES ($1, $2, 'drain_node', $3, 1, now() + interval '2 minutes')`, id, cluster, drainParameters)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	topic, payload := "cloudoptim:0:tasks:"+cluster, "0123456789abcdef" // who speaks, 16 bytes
	if _, err := fmt.Fprintf(w.word, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(topic), topic, len(payload), payload); err != nil {
		return 0, err
	}
	said, err := w.herd.next(ctx, "task "+id)
	return said.At.Sub(began), err
}

// drainParameters are those of a usual task.
const drainParameters = `{"node_name":"ip-10-0-1-2.ec2.internal","instance_id":"i-0123456789abcdef0","grace_period":0,"force":true,"volume_detach_seconds":30,"safety_margin_seconds":5}`

// reconnect kills central, starts it again, and times the agents' return from the kill.
func (w *linkWorld) reconnect(ctx context.Context) ([]time.Duration, error) {
	w.herd.drain()
	began := time.Now()
	w.child.Kill()
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	welcomes, err := w.herd.welcomes(ctx, w.bench.streams)
	if err != nil {
		return nil, err
	}
	var back []time.Duration
	for _, at := range welcomes {
		back = append(back, at.Sub(began))
	}
	slices.Sort(back)
	return back, nil
}

func (w *linkWorld) close() {
	if w.herd != nil {
		w.herd.close()
	}
	if w.word != nil {
		_ = w.word.Close()
	}
	for _, child := range []*proc.Child{w.child, w.redis} {
		if child != nil {
			child.Stop(10 * time.Second)
		}
	}
	if w.pool != nil {
		w.pool.Close()
	}
	if w.postgres != nil {
		_ = w.postgres.Stop()
	}
}

func awaitPort(ctx context.Context, address string) error {
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for %s: %w", address, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// residentOf is the memory a process holds, in bytes.
func residentOf(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no VmRSS")
}
