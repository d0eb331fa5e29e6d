package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5" //nolint:depguard // only to take the address of the database apart

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
	"github.com/cloudoptim/cloudoptim/pkg/proc"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

const (
	streamWithin = 12 * time.Minute
	// updates are told each second, each to all dashboards.
	updates = 100
	// streamWarm lets pools and caches fill before memory is read, under the same load.
	streamWarm = 20 * time.Second
	streamFor  = 60 * time.Second
	// publishers make the updates; the pace is kept by a clock and not by their number.
	publishers = 16
	// streamLate is how long the last message may take.
	streamLate = time.Minute
)

// stream measures the dashboards' stream: 500 WebSockets hear 100 kept updates a
// second, first of one central, then of two that share PostgreSQL and Redis.
func (b *bench) stream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamWithin)
	defer cancel()
	for _, replicas := range []int{1, 2} {
		if err := b.streamOver(ctx, replicas); err != nil {
			return fmt.Errorf("%d replicas: %w", replicas, err)
		}
	}
	return nil
}

func (b *bench) streamOver(ctx context.Context, replicas int) error {
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	w := &streamWorld{bench: b, dir: dir}
	defer w.close()
	if err := w.open(ctx, replicas); err != nil {
		return err
	}
	audience, err := w.audience(ctx)
	if err != nil {
		return err
	}
	defer audience.close()
	if _, err := w.publish(ctx, streamWarm); err != nil {
		return err
	}
	before, err := w.resident()
	if err != nil {
		return err
	}
	audience.begin()
	told, err := w.publish(ctx, streamFor)
	if err != nil {
		return err
	}
	after, err := w.resident()
	if err != nil {
		return err
	}
	heard, err := audience.settle(ctx)
	if err != nil {
		return err
	}
	if heard.lost == 0 && heard.least < told {
		return fmt.Errorf("%d updates were told, and a dashboard heard %d", told, heard.least)
	}
	name, against := strconv.Itoa(b.screens), "one central, bus in the process"
	if replicas > 1 {
		name, against = name+".replicas", "two centrals, Redis and PostgreSQL shared, dashboards and updates halved between them"
	}
	b.note("ws.delivery_p50_ms."+name, millis(percentile(heard.took, 50)), "ms", nil, against)
	b.note("ws.delivery_p99_ms."+name, millis(percentile(heard.took, 99)), "ms", atMost(250), against)
	b.note("ws.memory_growth_mib."+name, mib(after-before), "MiB", atMost(32), fmt.Sprintf("%.0f MiB before, all replicas together", mib(before)))
	b.noteAtLeast("ws.updates_per_s."+name, float64(told)/streamFor.Seconds(), "1/s", 0.95*updates, "asked for: "+strconv.Itoa(updates))
	b.note("ws.lost."+name, float64(heard.lost), "messages", atMost(0), fmt.Sprintf("%d deliveries", len(heard.took)))
	b.note("ws.doubled."+name, float64(heard.doubled), "messages", atMost(0), "")
	return nil
}

// streamWorld is some centrals on one PostgreSQL, with a customer and a cluster.
type streamWorld struct {
	bench    *bench
	dir      string
	postgres *pgembed.Server
	redis    *proc.Child
	centrals []*proc.Child
	commands []*exec.Cmd
	doors    []string
	admin    string
	cluster  string
	// next is the number of the update to come.
	next int64
}

func (w *streamWorld) close() {
	for _, central := range w.centrals {
		central.Stop(10 * time.Second)
	}
	if w.redis != nil {
		w.redis.Stop(5 * time.Second)
	}
	if w.postgres != nil {
		_ = w.postgres.Stop()
	}
}

func (w *streamWorld) open(ctx context.Context, replicas int) error {
	var err error
	if w.postgres, err = pgembed.Start(ctx, pgembed.Config{DataDir: filepath.Join(w.dir, "postgres")}); err != nil {
		return err
	}
	if err := db.Migrate(ctx, w.postgres.CentralDSN()); err != nil {
		return err
	}
	redis := ""
	if replicas > 1 {
		if redis, err = w.startRedis(ctx); err != nil {
			return err
		}
	}
	secret, err := exec.CommandContext(ctx, filepath.Join(w.bench.root, "bin", "central"), "new-key").Output()
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	key := string(secret[:len(secret)-1])
	for range replicas {
		if err := w.startCentral(ctx, key, redis); err != nil {
			return err
		}
	}
	return w.furnish(ctx, key)
}

func (w *streamWorld) startRedis(ctx context.Context) (port string, err error) {
	ports, err := proc.FreePorts(1)
	if err != nil {
		return "", err
	}
	port = strconv.Itoa(ports[0])
	w.redis, err = proc.StartLogged("redis", filepath.Join(w.dir, "redis.log"),
		exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", w.dir))
	if err != nil {
		return "", err
	}
	return port, awaitPort(ctx, "127.0.0.1:"+port)
}

func (w *streamWorld) startCentral(ctx context.Context, key, redisPort string) error {
	cfg, err := pgx.ParseConfig(w.postgres.CentralDSN())
	if err != nil {
		return err
	}
	ports, err := proc.FreePorts(2)
	if err != nil {
		return err
	}
	door := fmt.Sprintf("127.0.0.1:%d", ports[0])
	cmd := exec.Command(filepath.Join(w.bench.root, "bin", "central"), "--central.http_address="+door,
		fmt.Sprintf("--central.grpc_address=127.0.0.1:%d", ports[1]), "--ml.address=127.0.0.1:9", "--interruption.poll_seconds=0")
	cmd.Env = append(os.Environ(), "CLOUDOPTIM_ENVIRONMENT=development", "CLOUDOPTIM_ML_API_KEY=unused", "CLOUDOPTIM_CENTRAL_PLATFORM_KEY="+key,
		"CLOUDOPTIM_DATABASE_HOST=127.0.0.1", "CLOUDOPTIM_DATABASE_PORT="+strconv.Itoa(w.postgres.Port()), "CLOUDOPTIM_DATABASE_SSL_MODE=disable",
		"CLOUDOPTIM_DATABASE_NAME="+cfg.Database, "CLOUDOPTIM_DATABASE_USER="+cfg.User, "CLOUDOPTIM_DATABASE_PASSWORD="+cfg.Password,
		"CLOUDOPTIM_LOGGING_LEVEL=WARNING", "CLOUDOPTIM_API_RATE_LIMIT_PER_MINUTE=1000000",
		"AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none", "AWS_EC2_METADATA_DISABLED=true")
	if redisPort != "" {
		cmd.Env = append(cmd.Env, "CLOUDOPTIM_REDIS_HOST=127.0.0.1", "CLOUDOPTIM_REDIS_PORT="+redisPort)
	}
	child, err := proc.StartLogged("central", filepath.Join(w.dir, fmt.Sprintf("central-%d.log", len(w.doors))), cmd)
	if err != nil {
		return err
	}
	w.centrals, w.commands, w.doors = append(w.centrals, child), append(w.commands, cmd), append(w.doors, door)
	return awaitPort(ctx, door)
}

// furnish makes a customer and a cluster.
func (w *streamWorld) furnish(ctx context.Context, key string) error {
	var customer struct {
		Key string `json:"admin_api_key"`
	}
	err := stage.REST{Base: "http://" + w.doors[0], Key: key}.Post(ctx, "/api/v1/admin/customers",
		map[string]any{"company_name": "bench", "email": "bench@example.com"}, &customer)
	if err != nil {
		return err
	}
	var made struct {
		Cluster struct {
			ID string `json:"cluster_id"`
		} `json:"cluster"`
	}
	err = stage.REST{Base: "http://" + w.doors[0], Key: customer.Key}.Post(ctx, "/api/v1/admin/clusters",
		map[string]any{"cluster_name": "bench", "region": "us-east-1"}, &made)
	if err != nil {
		return err
	}
	w.admin, w.cluster = customer.Key, made.Cluster.ID
	return nil
}

// publish makes an update a hundredth of a second, over REST; each is kept. It returns how many were.
func (w *streamWorld) publish(ctx context.Context, during time.Duration) (int64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: publishers}}
	defer client.CloseIdleConnections()
	due := make(chan int64, updates)
	failed := make(chan error, publishers)
	var told atomic.Int64
	var sending sync.WaitGroup
	for p := range publishers {
		sending.Go(func() {
			for n := range due {
				if err := w.update(ctx, client, w.doors[p%len(w.doors)], n); err != nil {
					failed <- err
					return
				}
				told.Add(1)
			}
		})
	}
	tick := time.NewTicker(time.Second / updates)
	defer tick.Stop()
	end := time.After(during)
	var err error
	for going := true; going && err == nil; {
		select {
		case err = <-failed:
		case <-ctx.Done():
			err = ctx.Err()
		case <-end:
			going = false
		case <-tick.C:
			select {
			case due <- w.next:
				w.next++
			default: // central answers too slowly; how many it took is a figure
			}
		}
	}
	close(due)
	sending.Wait()
	return told.Load(), err
}

// update sets the policy of a namespace, in turns: a change that is kept, audited and told, and sets nothing else off.
func (w *streamWorld) update(ctx context.Context, client *http.Client, door string, n int64) error {
	modes := []string{"read_only", "recommend"}
	body := fmt.Sprintf(`{"cluster_id": %q, "namespace": "team-%d", "values": {"mode": %q}}`, w.cluster, n%publishers, modes[n/publishers%2])
	return send(ctx, client, http.MethodPut, "http://"+door+"/api/v1/admin/policies", w.admin, body)
}

// resident is the memory of all centrals.
func (w *streamWorld) resident() (int64, error) {
	var sum int64
	for _, cmd := range w.commands {
		rss, err := residentOf(cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += rss
	}
	return sum, nil
}
