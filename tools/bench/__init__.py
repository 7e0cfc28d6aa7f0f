"""What `agenthost bench` measures of the tools. Nothing here reports: that is the front's."""
