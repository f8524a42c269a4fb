"""The only room that imports rclpy and ROS messages."""
