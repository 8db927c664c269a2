// Package account finds its way into an AWS account: the profiles of a person,
// their sign-in through IAM Identity Center (SSO), and the function and the
// table of a project in the account.
package account
