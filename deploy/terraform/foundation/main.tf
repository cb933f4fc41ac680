# What a project needs before anything is deployed: APIs, a place for images, a network, and whom to tell about money and faults.
#   terraform init && terraform apply -var project=PROJECT -var region=REGION -var email=EMAIL

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.33, < 9.0"
    }
  }
}

variable "project" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Where everything runs."
  type        = string
}

variable "email" {
  description = "Who is told of alerts and of the budget; empty: nobody."
  type        = string
  default     = ""
}

variable "billing_account" {
  description = "The billing account of the project, for a budget; empty: no budget."
  type        = string
  default     = ""
}

variable "budget" {
  description = "The budget for a month, in the currency of the billing account."
  type        = number
  default     = 50
}

locals {
  apis = concat(
    ["run", "cloudtrace", "secretmanager", "artifactregistry", "iam", "compute", "monitoring"],
    var.billing_account == "" ? [] : ["billingbudgets"],
  )
}

# The APIs stay enabled when this is destroyed: other things in the project may use them.
resource "google_project_service" "api" {
  for_each           = toset(local.apis)
  project            = var.project
  service            = "${each.value}.googleapis.com"
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "spansieve" {
  project       = var.project
  location      = var.region
  repository_id = "spansieve"
  format        = "DOCKER"
  depends_on    = [google_project_service.api]
}

# The network that services send through: requests to *.run.app leave through it, and come in as internal ones.
resource "google_compute_network" "spansieve" {
  project                 = var.project
  name                    = "spansieve"
  auto_create_subnetworks = false
  depends_on              = [google_project_service.api]
}

resource "google_compute_subnetwork" "spansieve" {
  project                  = var.project
  name                     = "spansieve"
  region                   = var.region
  network                  = google_compute_network.spansieve.id
  ip_cidr_range            = "10.70.0.0/24" # Direct VPC egress wants a /26 or larger
  private_ip_google_access = true
}

resource "google_monitoring_notification_channel" "email" {
  count        = var.email == "" ? 0 : 1
  project      = var.project
  display_name = "Spansieve"
  type         = "email"
  labels       = { email_address = var.email }
  depends_on   = [google_project_service.api]
}

data "google_project" "this" {
  project_id = var.project
}

resource "google_billing_budget" "spansieve" {
  count           = var.billing_account == "" ? 0 : 1
  billing_account = var.billing_account
  display_name    = "Spansieve"

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }

  amount {
    specified_amount {
      units = tostring(var.budget)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  all_updates_rule {
    monitoring_notification_channels = google_monitoring_notification_channel.email[*].id
  }

  depends_on = [google_project_service.api]
}

module "alerts" {
  source   = "../../monitoring/terraform"
  project  = var.project
  channels = google_monitoring_notification_channel.email[*].id
}

output "repository" {
  description = "What stands before the names of images."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.spansieve.repository_id}"
}

output "network" {
  description = "The network for Direct VPC egress."
  value       = google_compute_network.spansieve.name
}

output "subnet" {
  description = "The subnet for Direct VPC egress."
  value       = google_compute_subnetwork.spansieve.name
}
