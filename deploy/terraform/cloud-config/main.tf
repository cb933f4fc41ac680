# The configuration of an example, with the policies and rules as they were tested, but for Cloud Run.
# deploy/gcloud/common.sh does the same; tools/check-terraform.py compares the two.

variable "file" {
  description = "The configuration of the example."
  type        = string
}

locals {
  # `$$` is a dollar sign in the replacement of a regular expression, and `$${` a literal `${` in Terraform.
  listens = replace(file(var.file), "/(?m)^  listen: \\[.*$/", "  listen: [\"0.0.0.0:$$${env:PORT:-8080}\"]")
  sink    = replace(local.listens, "/(?m)^  endpoint: embedded.*$/", "  endpoint: https://cloudtrace.googleapis.com")
  lines   = replace(local.sink, "/(?m)^  (cors: |embedded: |project: local-project|batch: ).*\\n/", "")
}

output "text" {
  description = "The configuration of Spansieve on Cloud Run."
  value       = replace(local.lines, "/(?m)^memory: .*$/", "memory: {limit: 70%}")
}
