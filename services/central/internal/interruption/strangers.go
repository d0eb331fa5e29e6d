package interruption

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/listen"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// joinWithin is how long an instance that was just launched may take to become a node.
const joinWithin = time.Minute

// strangers judges notices about instances that are no nodes. Only a tag, or our
// own launch, proves that one is of a cluster of the queue's customers.
func (s *Service) strangers(ctx context.Context, queue listen.Queue, notices []notice.Notice, at []int, verdicts []listen.Verdict) error {
	if len(at) == 0 {
		return nil
	}
	found, err := s.found(ctx, queue, notices, at)
	if err != nil { // what is ours must not be taken for foreign: look again later
		s.Log.WarnContext(ctx, "asking EC2 about unknown instances; their messages wait", "instances", len(at), "error", err)
		for _, i := range at {
			verdicts[i] = listen.Joining
		}
		return nil
	}
	ours, err := s.proven(ctx, queue, notices, at, found)
	if err != nil {
		return err
	}
	var late []heard
	var where []int
	for _, i := range at {
		owner, proven := ours[notices[i].InstanceID]
		one, described := found[notices[i].InstanceID]
		switch {
		case !proven:
			verdicts[i] = listen.Foreign
		case described && !neverJoins(notices[i]) && time.Since(one.LaunchedAt) < joinWithin:
			verdicts[i] = listen.Joining
		default: // it never joined, or its cluster's agent has not told
			late, where = append(late, heard{Notice: notices[i], owner: owner}), append(where, i)
		}
	}
	fresh, err := s.commit(ctx, late)
	if err != nil {
		return err
	}
	judge(verdicts, where, fresh)
	return nil
}

// proven are the owners of those instances that are of a cluster of the queue's customers.
func (s *Service) proven(ctx context.Context, queue listen.Queue, notices []notice.Notice, at []int, found map[string]cloud.Instance) (map[string]store.Owner, error) {
	ids := make([]string, 0, len(at))
	for _, i := range at {
		ids = append(ids, notices[i].InstanceID)
	}
	launched, err := s.Store.Launchers(ctx, store.Scope{Customers: queue.Customers}, ids)
	if err != nil {
		return nil, err
	}
	ours := map[string]store.Owner{}
	for _, customer := range queue.Customers {
		clusters, err := s.Store.Clusters(ctx, uuid.NullUUID{UUID: customer, Valid: true})
		if err != nil {
			return nil, err
		}
		for id, one := range found {
			if owner, is := tagged(one, clusters); is {
				ours[id] = owner
			}
		}
	}
	for _, owner := range launched { // what we launched we know better than its tags
		ours[owner.InstanceID] = owner
	}
	return ours, nil
}

// neverJoins tells that an instance will not join any more.
func neverJoins(n notice.Notice) bool { return n.Type == notice.InstanceTerminated }

// found asks EC2 about the instances; not about those that end before they were
// nodes, for there is nothing to do about them, and they are most of a busy queue.
func (s *Service) found(ctx context.Context, queue listen.Queue, notices []notice.Notice, at []int) (map[string]cloud.Instance, error) {
	byRegion := map[string][]string{}
	for _, i := range at {
		if n := notices[i]; !neverJoins(n) || queue.Shared {
			region := orElse(n.Region, queue.Region)
			byRegion[region] = append(byRegion[region], n.InstanceID)
		}
	}
	all := map[string]cloud.Instance{}
	for region, ids := range byRegion {
		account := cloud.Account{Region: region, RoleARN: queue.RoleARN, ExternalID: queue.ExternalID}
		found, err := s.census.look(ctx, account, ids)
		if err != nil {
			return nil, err
		}
		for id, one := range found {
			all[id] = one
		}
	}
	return all, nil
}

// tagged is the cluster that an instance's tags name.
func tagged(one cloud.Instance, clusters []*adminv1.Cluster) (store.Owner, bool) {
	for _, c := range clusters {
		if !names(one.Tags, c.GetClusterId(), c.GetClusterName()) {
			continue
		}
		cluster, err := uuid.Parse(c.GetClusterId())
		if err != nil {
			continue
		}
		customer, err := uuid.Parse(c.GetCustomerId())
		return store.Owner{
			Cluster: cluster, Customer: customer, ClusterName: c.GetClusterName(), Region: c.GetRegion(), InstanceID: one.ID,
			InstanceType: one.Type, Zone: one.Zone,
		}, err == nil
	}
	return store.Owner{}, false
}

func names(tags map[string]string, id, name string) bool {
	if _, there := tags["kubernetes.io/cluster/"+name]; there {
		return true
	}
	for _, tag := range []string{"aws:eks:cluster-name", "eks:cluster-name"} {
		if strings.EqualFold(tags[tag], name) {
			return true
		}
	}
	return tags[cloud.ClusterTag] == id
}
