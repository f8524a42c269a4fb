"""Clips, videos and bags in; bags and tables out. No rclpy."""
