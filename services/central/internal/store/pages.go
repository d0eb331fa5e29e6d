package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// RiskFor is how long what ml said of a node's risk is shown; it is asked again each hour.
const RiskFor = 6 * time.Hour

// Nodes is a page of a cluster's nodes, and the token of the next one.
func (s *Store) Nodes(ctx context.Context, cluster uuid.UUID, req *adminv1.ListNodesRequest) ([]*adminv1.Node, string, error) {
	order := req.GetOrderBy()
	page, err := NewPage(req.GetPageSize(), req.GetPageToken(), order)
	if err != nil {
		return nil, "", err
	}
	by, _ := strings.CutSuffix(order, " desc")
	params := centraldb.NodePageParams{
		ClusterID: cluster, NodeType: req.GetNodeType(), AvailabilityZone: req.GetAvailabilityZone(), InstanceType: req.GetInstanceType(),
		Search: req.GetSearch(), OrderBy: by, Descending: by != order, RiskSeconds: RiskFor.Seconds(),
		UsageSeconds: UsageFor.Seconds(), MaxRows: int32(page.Limit) + 1,
	}
	if err := after(page.After, by, &params); err != nil {
		return nil, "", err
	}
	var nodes []*adminv1.Node
	var next string
	err = s.inView(ctx, func(tx *Store) error { // what is done to a node is of the same moment
		rows, err := tx.q.NodePage(ctx, tx.db, params)
		if err != nil {
			return err
		}
		rows, next, err = Cut(page, rows, func(row centraldb.NodePageRow) Cursor {
			key := row.TextKey
			if by != "instance_type" {
				key = strconv.FormatFloat(row.NumberKey, 'g', -1, 64)
			}
			return Cursor{Order: order, Key: key, ID: row.NodeName}
		})
		if err == nil {
			nodes, err = tx.listed(ctx, cluster, rows)
		}
		return err
	})
	return nodes, next, wrap("listing nodes of cluster", cluster.String(), err)
}

func after(cursor *Cursor, by string, params *centraldb.NodePageParams) (err error) {
	if cursor == nil {
		return nil
	}
	params.After, params.AfterName = true, cursor.ID
	if by == "instance_type" {
		params.AfterText = cursor.Key
		return nil
	}
	if params.AfterNumber, err = strconv.ParseFloat(cursor.Key, 64); err != nil {
		return badToken()
	}
	return nil
}

// listed are the rows as messages, with what is being done to the nodes.
func (s *Store) listed(ctx context.Context, cluster uuid.UUID, rows []centraldb.NodePageRow) ([]*adminv1.Node, error) {
	nodes := make([]*adminv1.Node, 0, len(rows))
	names, instances := make([]string, 0, len(rows)), make([]string, 0, len(rows))
	for _, row := range rows {
		node := &fleetv1.NodeMetric{}
		if err := decode(row.Detail, node); err != nil {
			return nil, wrap("reading node", row.NodeName, err)
		}
		node.HourlyPrice, node.OnDemandHourlyPrice = row.HourlyPrice, row.OnDemandHourlyPrice
		// Of the pods that are there: agents send a node when it changes, not when its pods do.
		node.CpuAllocated, node.MemoryAllocatedGb, node.PodCount = row.CpuMillicores/1000, row.MemoryBytes/gib, row.Pods
		one := &adminv1.Node{Node: node, RequestedRatio: max(ratio(node.CpuAllocated, node.CpuAllocatable), ratio(node.MemoryAllocatedGb, node.MemoryAllocatableGb))}
		if row.RiskKnown {
			one.InterruptionRisk = &row.InterruptionRisk
		}
		if row.UsageKnown {
			one.CpuUsedRatio = share(row.UsedMillicores/1000, node.CpuAllocatable)
			one.MemoryUsedRatio = share(row.UsedBytes/gib, node.MemoryAllocatableGb)
		}
		nodes, names, instances = append(nodes, one), append(names, row.NodeName), append(instances, node.InstanceId)
	}
	acts, err := s.q.NodeActs(ctx, s.db, centraldb.NodeActsParams{ClusterID: cluster, NodeNames: names, InstanceIds: instances})
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		act(node, acts)
	}
	return nodes, nil
}

func ratio(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return part / whole
}

// share is nil where the whole is not known.
func share(part, whole float64) *float64 {
	if whole <= 0 {
		return nil
	}
	part /= whole
	return &part
}

// act says what is done to a node, the most pressing first, or else what it is like.
func act(node *adminv1.Node, acts []centraldb.NodeActsRow) {
	found := actsOn(node.GetNode(), acts)
	for _, state := range []string{"interrupted", "draining"} {
		if by, ok := found[state]; ok {
			node.State, node.ActedOnBy = state, by
			if by == "" {
				node.ActedOnBy = found["launched"] // a roll back drains what it launched
			}
			return
		}
	}
	launched, ours := found["launched"]
	node.ActedOnBy = launched
	switch {
	case !node.GetNode().GetReady() && ours:
		node.State = "joining"
	case !node.GetNode().GetReady():
		node.State = "not_ready"
	case node.GetNode().GetUnschedulable():
		node.State = "cordoned"
		if launched == "" { // a story cordons all that it is to drain before the first drain
			node.ActedOnBy = found["planned"]
		}
	default:
		node.State = "active"
	}
}

// actsOn are who acts on a node, by how.
func actsOn(node *fleetv1.NodeMetric, acts []centraldb.NodeActsRow) map[string]string {
	found := map[string]string{}
	for _, a := range acts {
		mine := a.InstanceID == "" || a.InstanceID == node.GetInstanceId()
		if !mine || a.NodeName != "" && a.NodeName != node.GetNodeName() {
			continue
		}
		if found[a.State] == "" { // a drain's task names nobody, its story's row does
			found[a.State] = a.ActedOnBy
		}
	}
	return found
}

// Pods is a page of a cluster's pods, and the token of the next one.
func (s *Store) Pods(ctx context.Context, cluster uuid.UUID, req *adminv1.ListPodsRequest) ([]*fleetv1.Pod, string, error) {
	page, err := NewPage(req.GetPageSize(), req.GetPageToken(), "")
	if err != nil {
		return nil, "", err
	}
	params := centraldb.PodPageParams{
		ClusterID: cluster, Namespace: req.GetNamespace(), NodeName: req.GetNodeName(), Phase: req.GetPhase(), Search: req.GetSearch(),
		MaxRows: int32(page.Limit) + 1,
	}
	if page.After != nil {
		params.After, params.AfterUid = true, page.After.ID
		params.AfterNamespace, params.AfterName, _ = strings.Cut(page.After.Key, "/") // which neither has
	}
	rows, err := s.q.PodPage(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing pods of cluster", cluster.String(), err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.PodPageRow) Cursor {
		return Cursor{Key: row.Namespace + "/" + row.PodName, ID: row.PodUid}
	})
	if err != nil {
		return nil, "", err
	}
	details := make([][]byte, 0, len(rows))
	for _, row := range rows {
		details = append(details, row.Detail)
	}
	pods, err := podMessages(cluster, details)
	return pods, next, err
}

// Events is a page of a cluster's Kubernetes events, those seen last first, and the token of
// the next one.
func (s *Store) Events(ctx context.Context, cluster uuid.UUID, req *adminv1.ListEventsRequest) ([]*fleetv1.Event, string, error) {
	page, err := NewPage(req.GetPageSize(), req.GetPageToken(), "")
	if err != nil {
		return nil, "", err
	}
	params := centraldb.EventPageParams{ClusterID: cluster, Type: req.GetType(), ObjectName: req.GetObjectName(), MaxRows: int32(page.Limit) + 1}
	if page.After != nil {
		before, err := page.After.moment()
		if err != nil {
			return nil, "", err
		}
		params.Before, params.BeforeID = &before, page.After.ID
	}
	rows, err := s.q.EventPage(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing events of cluster", cluster.String(), err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.EventPageRow) Cursor {
		return dated("", row.LastSeen, row.EventID)
	})
	if err != nil {
		return nil, "", err
	}
	events := make([]*fleetv1.Event, 0, len(rows))
	for _, row := range rows {
		event := &fleetv1.Event{}
		if err := decode(row.Detail, event); err != nil {
			return nil, "", wrap("reading event", row.EventID, err)
		}
		events = append(events, event)
	}
	return events, next, nil
}
