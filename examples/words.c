/* SPDX-License-Identifier: MPL-2.0
 *
 * Prints each word of a media file from the bus, with its times.
 *
 *     cc words.c -o words $(pkg-config --cflags --libs gstreamer-1.0)
 *     ./words FILE [URL]
 *
 * Nothing is linked behind the element: it serves as the sink.
 */

#include <gst/gst.h>
#include <stdio.h>

static void
print_word (const GstStructure *word)
{
  GstClockTime begin, end;

  if (!gst_structure_has_name (word, "vllmrealtimeasr/word") ||
      !gst_structure_get_clock_time (word, "start-time", &begin) ||
      !gst_structure_get_clock_time (word, "end-time", &end))
    return;
  /* Not g_print(): words are UTF-8, whatever the locale is. */
  printf ("%.2f %.2f %s\n", (double) begin / GST_SECOND, (double) end / GST_SECOND,
      gst_structure_get_string (word, "text"));
}

int
main (int argc, char **argv)
{
  GstElement *pipeline, *element;
  GstBus *bus;
  GstMessage *message;
  GError *error = NULL;
  gboolean running = TRUE;

  gst_init (&argc, &argv);
  if (argc < 2) {
    g_printerr ("which file? words FILE [URL]\n");
    return 2;
  }
  pipeline = gst_parse_launch ("filesrc name=file ! decodebin ! audioconvert ! audioresample"
      " ! vllmrealtimeasr name=asr", &error);
  if (error) {
    g_printerr ("%s\n", error->message);
    g_clear_error (&error);
    gst_clear_object (&pipeline);
    return 1;
  }
  element = gst_bin_get_by_name (GST_BIN (pipeline), "file");
  g_object_set (element, "location", argv[1], NULL);
  gst_object_unref (element);
  if (argc > 2) {
    element = gst_bin_get_by_name (GST_BIN (pipeline), "asr");
    g_object_set (element, "url", argv[2], NULL);
    gst_object_unref (element);
  }

  bus = gst_element_get_bus (pipeline);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (running) {
    message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE,
        GST_MESSAGE_ELEMENT | GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    switch (GST_MESSAGE_TYPE (message)) {
      case GST_MESSAGE_ELEMENT:
        if (gst_message_get_structure (message))
          print_word (gst_message_get_structure (message));
        break;
      case GST_MESSAGE_ERROR:
        gst_message_parse_error (message, &error, NULL);
        g_printerr ("%s\n", error->message);
        running = FALSE;
        break;
      default:
        running = FALSE;
    }
    gst_message_unref (message);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
  if (error) {
    g_error_free (error);
    return 1;
  }
  return 0;
}
