// Package cloud is EC2 and its Auto Scaling groups, in the customers' accounts.
package cloud

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Account says where and as whom to act.
type Account struct {
	Region string
	// RoleARN is assumed with ExternalID; empty: central's own identity.
	RoleARN, ExternalID string
	// ClusterName marks the cluster's instances: kubernetes.io/cluster/<name>=owned.
	ClusterName string
}

// Cloud makes clients for accounts and keeps them: the SDK renews their credentials.
type Cloud struct {
	base aws.Config

	mu      sync.Mutex
	clients map[Account]clients
}

// clients act in one account.
type clients struct {
	ec2    *ec2.Client
	groups *autoscaling.Client
}

// New reads central's own AWS identity from the environment. endpoint replaces
// AWS's own, "" for AWS.
func New(ctx context.Context, region, endpoint string) (*Cloud, error) {
	base, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(region), awsconfig.WithRetryer(func() aws.Retryer {
		return retry.AddWithMaxAttempts(retry.NewStandard(), 4)
	}))
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if endpoint != "" {
		base.BaseEndpoint = aws.String(endpoint)
	}
	return &Cloud{base: base, clients: map[Account]clients{}}, nil
}

func (c *Cloud) client(account Account) *ec2.Client { return c.in(account).ec2 }

func (c *Cloud) in(account Account) clients {
	account.ClusterName = "" // a customer's clusters share the account's credentials
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.clients[account]; ok {
		return known
	}
	cfg := c.base.Copy()
	cfg.Region = account.Region
	if account.RoleARN != "" {
		provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), account.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "cloudoptim"
			o.Duration = time.Hour
			if account.ExternalID != "" {
				o.ExternalID = aws.String(account.ExternalID)
			}
		})
		cfg.Credentials = aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute })
	}
	made := clients{ec2: ec2.NewFromConfig(cfg), groups: autoscaling.NewFromConfig(cfg)}
	c.clients[account] = made
	return made
}
