package guard

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// Unbounded is the room where no budget bounds it.
const Unbounded = -1

// Usage is what budgets are held against.
type Usage struct {
	// Nodes of the cluster.
	Nodes int
	// Draining are those that are being drained now, for AWS's interruptions, too.
	Draining int
	// Began has when drains of the last hour began, the oldest first.
	Began []time.Time
}

// Room is how many more nodes may begin to be drained, by all budgets that apply.
type Room struct {
	// Nodes: Unbounded, or so many.
	Nodes int
	// Because says which budget binds, when there is no room.
	Because string
	// Until is when there is room again by itself; zero: not known.
	Until time.Time
}

// budget that has been read.
type budget struct {
	nodes   string
	perHour int
	during  *times
}

func readBudgets(set *adminv1.DisruptionBudgets) ([]budget, error) {
	var out []budget
	for i, b := range set.GetBudgets() {
		during, err := readTimes(b.GetDuring())
		if err != nil {
			return nil, fmt.Errorf("budgets[%d]: %w", i, err)
		}
		out = append(out, budget{nodes: b.GetNodes(), perHour: int(b.GetNodesPerHour()), during: during})
	}
	return out, nil
}

// atOnce is the most nodes that may be drained at the same time.
func (b budget) atOnce(nodes int) int {
	share, isShare := strings.CutSuffix(b.nodes, "%")
	n, err := strconv.Atoi(share)
	switch {
	case b.nodes == "" || err != nil:
		return Unbounded
	case isShare && n > 0:
		return max(1, nodes*n/100)
	default:
		return n
	}
}

// roomIn the budgets at a time.
func roomIn(budgets []budget, now time.Time, u Usage) Room {
	room := Room{Nodes: Unbounded}
	for _, b := range budgets {
		if !b.during.covers(now) {
			continue
		}
		if most := b.atOnce(u.Nodes); most != Unbounded {
			room = room.under(Room{
				Nodes: max(0, most-u.Draining), Because: fmt.Sprintf("the budget allows %d nodes to be drained at once, %d are", most, u.Draining),
			})
		}
		if b.perHour > 0 {
			room = room.under(b.hourly(now, u))
		}
	}
	if room.Nodes != 0 {
		room.Because, room.Until = "", time.Time{}
	}
	return room
}

// hourly is the room by nodes_per_hour.
func (b budget) hourly(now time.Time, u Usage) Room {
	began := u.Began
	for len(began) > 0 && !began[0].After(now.Add(-time.Hour)) {
		began = began[1:]
	}
	r := Room{
		Nodes:   max(0, b.perHour-len(began)),
		Because: fmt.Sprintf("the budget allows %d drains to begin within an hour, %d have", b.perHour, len(began)),
	}
	if r.Nodes == 0 {
		r.Until = began[len(began)-b.perHour].Add(time.Hour)
	}
	return r
}

// under is the tighter of two rooms; of two without room, the one that lasts longer.
func (r Room) under(other Room) Room {
	switch {
	case r.Nodes == Unbounded || (other.Nodes < r.Nodes):
		return other
	case other.Nodes == 0 && r.Nodes == 0 && (other.Until.IsZero() || other.Until.After(r.Until)) && !r.Until.IsZero():
		return other
	default:
		return r
	}
}
