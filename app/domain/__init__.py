"""The terms of echocardiography that the program works with: numpy only, no files and no window."""
